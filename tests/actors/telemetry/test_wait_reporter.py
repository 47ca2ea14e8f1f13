"""Workers that are missing are spoken of."""

from __future__ import annotations

from dataclasses import replace

from actors.telemetry.snapshot import PoolState
from actors.telemetry.wait_reporter import WaitReporter
from tests.actors.telemetry.test_prometheus import BEGIN

SHORT = replace(BEGIN, pools={"renderer": PoolState(4, 1, 0, 0), "policy": PoolState(1, 1, 0, 0)})
FULL = replace(BEGIN, pools={"renderer": PoolState(4, 4, 0, 0)})


def test_it_speaks_after_the_time_and_again_and_says_what_there_is() -> None:
    said: list[str] = []
    now = [0.0]
    reporter = WaitReporter(60, said.append, lambda: "the cluster has 2 GPUs", clock=lambda: now[0])
    for moment in (0, 30, 60, 90, 120):
        now[0] = moment
        reporter.take(SHORT)
    assert said == [
        "waiting 1 min 0 s for 3 of 4 renderer worker(s) to find a place and load; the cluster has 2 GPUs",
        "waiting 2 min 0 s for 3 of 4 renderer worker(s) to find a place and load; the cluster has 2 GPUs",
    ]


def test_a_pool_that_came_up_ends_the_wait() -> None:
    said: list[str] = []
    now = [0.0]
    reporter = WaitReporter(60, said.append, lambda: "", clock=lambda: now[0])
    for moment, snapshot in ((0, SHORT), (50, FULL), (70, SHORT), (120, SHORT)):
        now[0] = moment
        reporter.take(snapshot)
    assert said == []
