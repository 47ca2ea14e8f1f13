from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from actors.telemetry.prometheus import RunMetrics
from actors.telemetry.snapshot import Snapshot
from actors.telemetry.snapshot_publisher import end_publishing, publish_snapshots
from tests.actors.telemetry.test_prometheus import BEGIN, Recorder


def test_the_last_state_is_published_when_publishing_ends() -> None:
    sink = Recorder()
    now = [BEGIN]

    async def run() -> None:
        task = asyncio.create_task(publish_snapshots([RunMetrics(sink).take], lambda: now[0], period_s=60))
        await asyncio.sleep(0)
        now[0] = replace(BEGIN, rounds_done=2)
        await end_publishing(task)

    asyncio.run(run())
    assert sink.of("rounds_done") == [0, 2]


def test_publishing_that_breaks_costs_the_run_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Snapshot:
        raise ValueError("no such pool")

    async def run() -> str:
        task = asyncio.create_task(publish_snapshots([], broken))
        await asyncio.sleep(0)
        await end_publishing(task)
        return "the run's result"

    assert asyncio.run(run()) == "the run's result"
    assert "no such pool" in caplog.text
