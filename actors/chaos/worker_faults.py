"""Faults of pool workers: killed, hung, a score that is no number, a lost input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ray

from actors.chaos.fault import InjectedFault, NoTarget
from actors.chaos.fault_plan import POOLS
from actors.chaos.learner_faults import learner_re_formed
from actors.chaos.worker_orders import give_no_number, lose_an_object, never_finish

if TYPE_CHECKING:
    from actors.loop.online_loop import OnlineLoop


def kill_worker(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A worker of a pool, at work or not."""
    pool, worker, handle = _worker(loop, draw)
    ray.kill(handle)
    return InjectedFault(f"{worker} killed", lambda: worker_replaced(pool, worker))


def slow_worker(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A worker takes its next call and never finishes it."""
    pool, worker, handle = _worker(loop, draw)
    send_order(handle, never_finish)
    return InjectedFault(f"{worker} told to hang", lambda: worker_replaced(pool, worker))


def no_number(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A scorer's next batch holds a score that is no number."""
    worker, handle = _one_of(loop.pipeline.pools["scorer"].ready(), draw, "scorer")
    send_order(handle, give_no_number)
    before = _failed(loop)

    def outcome() -> str:
        failed = _failed(loop) - before
        return f"{failed} admissions failed, named in the ledger" if failed else ""

    return InjectedFault(f"{worker} told to give NaN", outcome)


def lose_object(loop: OnlineLoop, draw: int) -> InjectedFault:
    """The next object that a worker asks for is gone."""
    pool, worker, handle = _worker(loop, draw)
    send_order(handle, lose_an_object)
    shards, re_formed = loop.pipeline.issued_again, learner_re_formed(loop)

    def outcome() -> str:
        if loop.pipeline.issued_again > shards:
            return "a shard issued again"
        # Only a policy worker asks for weights, too.
        return re_formed() if pool is loop.pipeline.pools["policy"] else ""

    return InjectedFault(f"{worker}'s next input lost", outcome)


def _worker(loop: OnlineLoop, draw: int) -> tuple[Any, str, Any]:
    """The pool, name and handle of the worker that the draw names."""
    name = POOLS[draw % len(POOLS)]
    pool = loop.pipeline.pools[name]
    return (pool, *_one_of(pool.ready(), draw // len(POOLS), name))


def _one_of(ready: Mapping[str, Any], draw: int, pool: str) -> tuple[str, Any]:
    if not ready:
        raise NoTarget(f"the {pool} pool has no worker that is up")
    worker = list(ready)[draw % len(ready)]
    return worker, ready[worker]


def worker_replaced(pool: Any, worker: str) -> str:
    """An outcome: says so once the pool is whole without `worker`."""
    names = {name for name, _, _ in pool.workers()}
    return "replaced" if worker not in names and len(pool.ready()) >= pool.size else ""


def _failed(loop: OnlineLoop) -> int:
    failed = loop.run_state.ledger.counts()["failed"]
    assert isinstance(failed, dict)
    return sum(failed.values())


def send_order(handle: Any, order: Callable[[Any], None]) -> None:
    """Have a worker run `order` on itself, in place of its next call."""
    handle.__ray_call__.remote(order)
