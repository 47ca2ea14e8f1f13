from __future__ import annotations

import pytest

from actors.telemetry.memory import MemoryMeter
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_instant_goes_to_the_stages_under_way_in_equal_parts() -> None:
    time = _Clock()
    clock = StageClock(time)
    time.now = 2.0
    with clock.running("policy"):
        time.now = 5.0
        with clock.running("render"), clock.running("render"):
            time.now = 9.0
    time.now = 10.0
    assert clock.seconds() == pytest.approx({"idle": 3.0, "policy": 5.0, "render": 2.0})
    assert clock.summary().total_s == pytest.approx(10.0)


def test_a_resumed_run_adds_to_the_time_it_took_before() -> None:
    time = _Clock()
    clock = StageClock(time)
    clock.add_earlier({"learn": 7.0})
    time.now = 1.0
    summary = clock.summary()
    assert (summary.stages.learn, summary.stages.idle, summary.total_s) == (7.0, 1.0, 8.0)


def test_rates_are_over_the_whole_run() -> None:
    throughput = Throughput()
    throughput.add(pairs=10, tokens=100)
    throughput.add(images=50, tokens=100)
    rates = throughput.summary(20.0)
    assert (rates.pairs_per_s, rates.images_per_s, rates.tokens_per_s) == (0.5, 2.5, 10.0)


def test_the_memory_watch_keeps_the_highest_sample() -> None:
    watch = MemoryMeter()
    first = watch.sample()
    block = b"x" * 2**27
    assert watch.sample() > first + len(block) / 2**31
    del block
    watch.sample()
    assert watch.peak_gib > first + 0.06
