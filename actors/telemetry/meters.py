"""The meters of a run: time by stage, what came through, and memory. They run from the first life of a run to its last."""

from __future__ import annotations

from typing import Any

from actors.telemetry.memory import MemoryMeter
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput


class RunMeters:
    """Counts of one run, over all its resumes."""

    def __init__(self) -> None:
        self.clock, self.throughput, self.memory = StageClock(), Throughput(), MemoryMeter()

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint: seconds by stage, counts, and the highest memory in GiB."""
        return {"seconds": self.clock.seconds(), "counts": dict(self.throughput.counts), "peak_memory_gib": self.memory.peak_gib}

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from what `to_json` gave; other keys of `content` are left alone."""
        self.clock.add_earlier(content["seconds"])
        self.throughput.counts.update(content["counts"])
        self.memory.peak_gib = max(self.memory.peak_gib, content["peak_memory_gib"])
