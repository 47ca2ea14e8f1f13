"""How much memory a run takes."""

from __future__ import annotations

import asyncio
import contextlib

import psutil

_GIB = 2**30


class MemoryMeter:
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

    async def sample_forever(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(self._period_s)
