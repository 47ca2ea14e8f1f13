from __future__ import annotations

from actors.telemetry.memory import MemoryMeter


def test_the_meter_keeps_the_highest_sample() -> None:
    meter = MemoryMeter()
    first = meter.sample()
    block = b"x" * 2**27
    assert meter.sample() > first + len(block) / 2**31
    del block
    meter.sample()
    assert meter.peak_gib > first + 0.06
