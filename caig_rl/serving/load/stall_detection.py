"""Health by progress: a model that is stuck in a batch answers nothing, though its process lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stalled(RuntimeError):
    """A batch has been running for too long."""


class StallDetector:
    """Notes when work begins and ends. One piece of work at a time."""

    def __init__(self, what: str, timeout_s: float, clock: Callable[[], float]) -> None:
        self._what, self._timeout_s, self._clock = what, timeout_s, clock
        self._since: float | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around each piece of work."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._since = None

    def check(self) -> None:
        """Raise Stalled where the work under way began more than the time-out ago."""
        if self._since is not None and (busy := self._clock() - self._since) > self._timeout_s:
            raise Stalled(f"{self._what} has worked on one batch for {busy:.0f} s (serve.limits.stall_timeout_s)")
