"""Where the time went, how much came through, and how much memory it took."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

import psutil

from caig_rl.evaluation.summary import StageTimes, ThroughputSummary, TimeSummary

Stage = Literal["policy", "render", "score", "learn", "sync"]
_GIB = 2**30


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


class Throughput:
    """Counts what came out of the stages during training and evaluation."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, *, pairs: int = 0, images: int = 0, tokens: int = 0) -> None:
        """More of each."""
        self.counts.update({"pairs": pairs, "images": images, "tokens": tokens})

    def summary(self, total_s: float) -> ThroughputSummary:
        """Rates over the whole run."""
        return ThroughputSummary(**{f"{name}_per_s": self.counts[name] / total_s for name in ("pairs", "images", "tokens")})


class MemoryWatch:
    """Highest memory of this process and all its children together (a local cluster's workers among them), by sampling.

    Memory that processes share, the object store above all, counts once for each: an upper bound.
    """

    def __init__(self, period_s: float = 1.0) -> None:
        self.peak_gib = 0.0
        self._period_s = period_s

    def sample(self) -> float:
        """Measure now, in GiB, and keep the highest."""
        total = 0
        root = psutil.Process()
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended between listing and asking
                total += process.memory_info().rss
        self.peak_gib = max(self.peak_gib, total / _GIB)
        return total / _GIB

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(self._period_s)
