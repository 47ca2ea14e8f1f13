from __future__ import annotations

import pytest

from actors.telemetry.stage_times import StageClock


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
