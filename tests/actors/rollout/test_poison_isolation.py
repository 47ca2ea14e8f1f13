"""One bad product must not take the others of its shard with it. The rollout is a fake."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.rollout.poison_isolation import MAX_TRIALS, Isolated, roll_out_or_isolate
from actors.rollout.pool_member import WorkerLost
from actors.rollout.rolled_out import ShardPoisoned
from actors.rollout.shard import Shard, make_shards
from caig_rl.types import Product

SHARD = make_shards([Product(name, name, "mugs") for name in "abcd"], [1, 2, 3, 4], 0, 8, shard_size=4)[0]


class FakeRollout:
    """Loses its worker on any shard with a deadly product in it; fails the first `unlucky` whole shards for no reason."""

    def __init__(self, deadly: str = "", unlucky: int = 0) -> None:
        self.deadly, self.unlucky, self.issued = deadly, unlucky, list[str]()

    async def __call__(self, shard: Shard) -> Any:
        names = "".join(product.product_id for product in shard.products)
        self.issued.append(names)
        if set(names) & set(self.deadly):
            raise ShardPoisoned(shard, "render", 2, WorkerLost("renderer-0 died"))
        if len(names) > 1 and self.unlucky:
            self.unlucky -= 1
            raise ShardPoisoned(shard, "render", 2, WorkerLost("renderer-0 died"))
        return names


def _isolate(rollout: FakeRollout, shard: Shard = SHARD) -> Isolated:
    return asyncio.run(roll_out_or_isolate(rollout, shard))


def _failed(found: Isolated) -> str:
    return "".join(product.product_id for shard, _ in found.failed for product in shard.products)


def test_a_shard_without_a_fault_is_rolled_out_once_and_whole() -> None:
    rollout = FakeRollout()
    assert (_isolate(rollout).rolled, rollout.issued) == ("abcd", ["abcd"])


def test_the_product_that_kills_its_worker_fails_alone_and_the_others_go_on_together() -> None:
    rollout = FakeRollout(deadly="c")
    found = _isolate(rollout)
    assert (found.rolled, _failed(found)) == ("abd", "c")
    assert found.failed[0][1].kind == "poison"
    assert found.failed[0][0].admissions[0].admission_id == 10
    assert rollout.issued == ["abcd", "a", "b", "c", "d", "abd"]


def test_where_nobody_is_to_blame_the_result_is_that_of_the_whole_shard() -> None:
    found = _isolate(FakeRollout(unlucky=1))
    assert (found.rolled, found.failed) == ("abcd", [])


def test_a_shard_of_killers_fails_product_by_product() -> None:
    found = _isolate(FakeRollout(deadly="abcd"))
    assert (found.rolled, _failed(found)) == (None, "abcd")


def test_a_shard_that_never_comes_through_whole_fails_in_the_end() -> None:
    rollout = FakeRollout(unlucky=99)
    found = _isolate(rollout)
    assert (found.rolled, _failed(found)) == (None, "abcd")
    assert rollout.issued.count("abcd") == MAX_TRIALS


def test_a_lone_product_is_not_tried_twice_over() -> None:
    rollout = FakeRollout(deadly="a")
    assert _failed(_isolate(rollout, SHARD.singles()[0])) == "a"
    assert rollout.issued == ["a"]
