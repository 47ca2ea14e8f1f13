"""How long each stage of the loop took."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

from caig_rl.runs.summary import StageTimes, TimeSummary

Stage = Literal["policy", "render", "score", "learn", "sync"]


class StageClock:
    """Splits wall time into stages: each instant goes to the stages under way in it, in equal parts, and to "idle" where there is none.

    The parts add up to the total, also where stages overlap.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._last = clock, clock()
        self._active: Counter[str] = Counter()
        self._seconds: dict[str, float] = defaultdict(float)

    def add_earlier(self, seconds: dict[str, float]) -> None:
        """Seconds by stage of the run before it was resumed."""
        for stage, value in seconds.items():
            self._seconds[stage] += value

    @contextlib.contextmanager
    def running(self, stage: Stage) -> Iterator[None]:
        """Around one piece of work of `stage`."""
        self._settle()
        self._active[stage] += 1
        try:
            yield
        finally:
            self._settle()
            self._active[stage] -= 1

    def seconds(self) -> dict[str, float]:
        """Seconds by stage up to now, "idle" among them."""
        self._settle()
        return dict(self._seconds)

    def summary(self) -> TimeSummary:
        """`time` of the run's summary."""
        seconds = self.seconds()
        names = StageTimes.model_fields
        return TimeSummary(total_s=sum(seconds.values()), stages=StageTimes(**{name: seconds.get(name, 0.0) for name in names}))

    def _settle(self) -> None:
        now = self._clock()
        active = [stage for stage, count in self._active.items() if count] or ["idle"]
        for stage in active:
            self._seconds[stage] += (now - self._last) / len(active)
        self._last = now
