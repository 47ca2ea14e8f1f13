"""How long one piece of work may go without progress before its worker, or its rank, counts as hung."""

from __future__ import annotations


class Patience:
    """How long a worker of a pool may hold one piece of work: never less than a floor, and several times what the longest took so far."""

    def __init__(self, floor_s: float, factor: float) -> None:
        """Deadline: the larger of `floor_s` and `factor` times the longest piece of work that was finished."""
        self._floor_s, self._factor, self._longest_s = floor_s, factor, 0.0

    def observe(self, seconds: float) -> None:
        """A piece of work was finished."""
        self._longest_s = max(self._longest_s, seconds)

    @property
    def deadline_s(self) -> float:
        """Longest time without progress, now."""
        return max(self._floor_s, self._factor * self._longest_s)
