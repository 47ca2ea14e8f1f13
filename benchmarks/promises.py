"""What a benchmark promised and whether it was kept, said in one form: a line a promise, and an exit code."""

from __future__ import annotations

from collections.abc import Callable


class Promises:
    """Collects verdicts."""

    def __init__(self, note: Callable[[str], None] = print) -> None:
        self._note = note
        self.verdicts: dict[str, bool] = {}
        """What was promised -> whether it was kept."""

    def check(self, promise: str, kept: bool, found: str) -> None:
        """`found`: what was measured."""
        self.verdicts[promise] = kept
        self._note(f"{'kept  ' if kept else 'BROKEN'}  {promise}: {found}")

    @property
    def exit_code(self) -> int:
        """0 where all were kept, else 1."""
        return 0 if all(self.verdicts.values()) else 1
