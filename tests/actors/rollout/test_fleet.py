"""The fleet over fake pools: what it decides reaches them, and is kept for the summary."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.rollout.fleet import Fleet
from actors.rollout.pool_autoscaler import Load
from caig_rl.config.schema import PoolsConfig
from tests.actors.rollout.test_worker_health import Clock


class FakePool:
    """A pool that is always waited for."""

    least, replaced, stuck = 1, 2, 1

    def __init__(self, most: int) -> None:
        self.most, self.size, self.left = most, 1, list[set[str]]()

    def load(self) -> Load:
        return Load(self.size, waiting=9, idle=0, starting=0)

    async def resize(self, size: int) -> None:
        self.size = size

    async def leave_nodes(self, nodes: set[str]) -> None:
        self.left.append(nodes)


def _fleet(clock: Clock, notes: list[str], gone: set[str], **pools: Any) -> Fleet:
    config = PoolsConfig.model_validate({"scaling": {"window_s": 10.0}})
    return Fleet(pools, config, notes.append, clock, lambda: gone)


def _steps(fleet: Fleet, clock: Clock, count: int) -> None:
    async def main() -> None:
        for _ in range(count):
            clock.advance(2.0)
            await fleet.step()

    asyncio.run(main())


def test_only_pools_with_room_between_their_limits_are_sized() -> None:
    clock, notes = Clock(), list[str]()
    fixed, elastic = FakePool(most=1), FakePool(most=4)
    fleet = _fleet(clock, notes, set(), policy=fixed, renderer=elastic)
    _steps(fleet, clock, 20)
    assert (fixed.size, elastic.size) == (1, 4)
    assert [(step.pool, step.before, step.after) for step in fleet.summary().scaling] == [("renderer", 1, 2), ("renderer", 2, 4)]
    assert notes[0].startswith("renderer pool 1 -> 2: 9.0 shards waited")


def test_every_pool_hears_of_nodes_that_are_being_drained() -> None:
    clock = Clock()
    pool = FakePool(most=1)
    _steps(_fleet(clock, [], {"spot-7"}, scorer=pool), clock, 1)
    assert pool.left == [{"spot-7"}]


def test_a_resumed_run_goes_on_counting() -> None:
    clock = Clock()
    first = _fleet(clock, [], set(), renderer=FakePool(most=2))
    _steps(first, clock, 10)
    later = _fleet(clock, [], set(), renderer=FakePool(most=2))
    later.restore(first.to_json())
    _steps(later, clock, 10)
    summary = later.summary()
    assert (summary.replaced, summary.stuck) == ({"renderer": 4}, {"renderer": 2})
    assert [step.at_s for step in summary.scaling] == [12.0, 32.0]
