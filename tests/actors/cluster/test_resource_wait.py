"""A wait that is spoken of."""

import asyncio
from dataclasses import replace

import pytest

from actors.cluster.resource_wait import wait_with_notes
from actors.telemetry.snapshot import PoolState
from actors.telemetry.wait_reporter import WaitReporter
from tests.actors.telemetry.test_prometheus import BEGIN

SHORT = replace(BEGIN, pools={"renderer": PoolState(4, 1, 0, 0), "policy": PoolState(1, 1, 0, 0)})
FULL = replace(BEGIN, pools={"renderer": PoolState(4, 4, 0, 0)})


def test_it_speaks_after_the_time_and_again_and_says_what_there_is():
    said: list[str] = []
    now = [0.0]
    watch = WaitReporter(60, said.append, lambda: "the cluster has 2 GPUs", clock=lambda: now[0])
    for moment in (0, 30, 60, 90, 120):
        now[0] = moment
        watch.take(SHORT)
    assert said == [
        "waiting 1 min 0 s for 3 of 4 renderer worker(s) to find a place and load; the cluster has 2 GPUs",
        "waiting 2 min 0 s for 3 of 4 renderer worker(s) to find a place and load; the cluster has 2 GPUs",
    ]


def test_a_pool_that_came_up_ends_the_wait():
    said: list[str] = []
    now = [0.0]
    watch = WaitReporter(60, said.append, lambda: "", clock=lambda: now[0])
    for moment, snapshot in ((0, SHORT), (50, FULL), (70, SHORT), (120, SHORT)):
        now[0] = moment
        watch.take(snapshot)
    assert said == []


def test_an_answer_that_takes_long_is_spoken_of_and_comes_through():
    said: list[str] = []
    arrived = asyncio.Event()

    def note(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            arrived.set()

    async def answer() -> str:
        await arrived.wait()
        return "products"

    found = asyncio.run(wait_with_notes(answer(), "the products of shard 0-7", 0.01, note, lambda: "the cluster has 2 CPUs (0 free)"))
    assert found == "products"
    assert len(said) >= 2 and said[0].endswith("for the products of shard 0-7; the cluster has 2 CPUs (0 free)")


def test_what_an_awaited_answer_raises_is_raised():
    async def answer() -> str:
        raise ValueError("no such product")

    with pytest.raises(ValueError, match="no such product"):
        asyncio.run(wait_with_notes(answer(), "it", 60, print, lambda: ""))
