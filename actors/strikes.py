"""What each fault of `actors.chaos_plan` does to a running loop, and how to see what became of it. Only what is up is broken."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.chaos_plan import POOLS
from actors.mischief import give_no_number, kill_node, lose_an_object, never_finish

if TYPE_CHECKING:
    from actors.online import OnlineLoop

HEAD_RESOURCE = "node:__internal_head__"


class NothingToBreak(Exception):
    """There is no victim now. The message says why."""


@dataclass(frozen=True, slots=True)
class Struck:
    """What was broken."""

    what: str
    outcome: Callable[[], str]
    """What became of it, in words; empty while that cannot be seen yet."""


def kill_worker(loop: OnlineLoop, draw: int) -> Struck:
    """A worker of a pool, at work or not."""
    pool, worker, handle = _worker(loop, draw)
    ray.kill(handle)
    return Struck(f"{worker} killed", lambda: _replaced(pool, worker))


def kill_rank(loop: OnlineLoop, draw: int) -> Struck:
    """A rank of the learner."""
    return Struck(_kill_rank(loop, draw), _re_formed(loop))


def kill_rollout_node(loop: OnlineLoop, draw: int) -> Struck:
    """A node that holds workers of a pool, and neither this process nor Ray's head."""
    pools = loop.pipeline.pools.values()
    held = {node: handle for pool in pools for node, handle in pool.nodes().items()}
    spared = nodes_to_spare()
    victims = sorted(node for node in held if node not in spared)
    if not victims:
        raise NothingToBreak("no node but the driver's and the head's holds workers that are up")
    node = victims[draw % len(victims)]
    _order(held[node], kill_node)

    def outcome() -> str:
        is_whole = all(node not in pool.nodes() and len(pool.ready()) >= pool.size for pool in pools)
        return "its workers replaced" if is_whole else ""

    return Struck(f"node {node[:8]} of {len(victims)} killed", outcome)


def slow_worker(loop: OnlineLoop, draw: int) -> Struck:
    """A worker takes its next call and never finishes it."""
    pool, worker, handle = _worker(loop, draw)
    _order(handle, never_finish)
    return Struck(f"{worker} told to hang", lambda: _replaced(pool, worker))


def no_number(loop: OnlineLoop, draw: int) -> Struck:
    """A scorer's next batch holds a score that is no number."""
    worker, handle = _one_of(loop.pipeline.pools["scorer"].ready(), draw, "scorer")
    _order(handle, give_no_number)
    before = _failed(loop)

    def outcome() -> str:
        failed = _failed(loop) - before
        return f"{failed} admissions failed, named in the ledger" if failed else ""

    return Struck(f"{worker} told to give NaN", outcome)


def lose_object(loop: OnlineLoop, draw: int) -> Struck:
    """The next object that a worker asks for is gone."""
    pool, worker, handle = _worker(loop, draw)
    _order(handle, lose_an_object)
    shards, made_anew = loop.pipeline.issued_again, _re_formed(loop)

    def outcome() -> str:
        if loop.pipeline.issued_again > shards:
            return "a shard issued again"
        # Only a policy worker asks for weights, too.
        return made_anew() if pool is loop.pipeline.pools["policy"] else ""

    return Struck(f"{worker}'s next input lost", outcome)


def fill_disk(loop: OnlineLoop, draw: int) -> Struck:
    """The disk is full when the next checkpoint but the last, which is the run's result, is to be sealed."""
    store, last, met = loop.store, loop.book.rounds_planned, list[int]()
    if store.before_seal is not None:
        raise NothingToBreak("the disk is to be full at the next checkpoint already")
    if loop.book.rounds_done >= last:
        raise NothingToBreak("the last checkpoint is the run's result")

    def full(step: int) -> None:
        if step < last:
            store.before_seal = None
            met.append(step)
            raise OSError(errno.ENOSPC, "No space left on device (chaos)")

    def outcome() -> str:
        written = [step for step in complete_steps(loop) if met and step > met[0]]
        return f"checkpoint {met[0]} not written, {written[0]} was" if written else ""

    store.before_seal = full
    return Struck("the disk will be full at the next checkpoint", outcome)


def tear_weights(loop: OnlineLoop, draw: int) -> Struck:
    """A weight file of the newest checkpoint is cut short and a rank killed, so that the file is wanted.

    Only where an older checkpoint is left to go on from, and on local disks.
    """
    complete = complete_steps(loop)
    if len(complete) < 2:
        raise NothingToBreak(f"{len(complete)} complete checkpoints, and one must be left to go on from")
    folder = Path(loop.store.url(complete[-1]), "learner")
    if not folder.is_dir():
        raise NothingToBreak(f"{folder} is on no local disk")
    outcome, killed = _re_formed(loop), _kill_rank(loop, draw)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[draw % len(files)]
    file.write_bytes(file.read_bytes()[:-1])
    return Struck(f"{file.name} of checkpoint {complete[-1]} cut short, {killed}", outcome)


def complete_steps(loop: OnlineLoop) -> list[int]:
    """Steps of the complete checkpoints, rising."""
    return [step for step in loop.store.steps() if loop.store.is_complete(step)]


def nodes_to_spare() -> set[str]:
    """Ids of the nodes whose end is the run's: this process's and the head's."""
    heads = {str(node["NodeID"]) for node in ray.nodes() if HEAD_RESOURCE in node["Resources"]}
    return heads | {str(ray.get_runtime_context().get_node_id())}


def _worker(loop: OnlineLoop, draw: int) -> tuple[Any, str, Any]:
    """The pool, name and handle of the worker that the draw names."""
    name = POOLS[draw % len(POOLS)]
    pool = loop.pipeline.pools[name]
    return (pool, *_one_of(pool.ready(), draw // len(POOLS), name))


def _one_of(ready: Mapping[str, Any], draw: int, pool: str) -> tuple[str, Any]:
    if not ready:
        raise NothingToBreak(f"the {pool} pool has no worker that is up")
    worker = list(ready)[draw % len(ready)]
    return worker, ready[worker]


def _kill_rank(loop: OnlineLoop, draw: int) -> str:
    learner = loop.teacher.learner
    ranks: Sequence[Any] = learner.handles()
    if not learner.ready_ranks:
        raise NothingToBreak("the learner is being formed")
    index = draw % len(ranks)
    ray.kill(ranks[index])
    return f"learner rank {index} of {len(ranks)} killed"


def _replaced(pool: Any, worker: str) -> str:
    names = {name for name, _, _ in pool.workers()}
    return "replaced" if worker not in names and len(pool.ready()) >= pool.size else ""


def _re_formed(loop: OnlineLoop) -> Callable[[], str]:
    fleet, learner = loop.record.fleet, loop.teacher.learner
    assert fleet is not None
    before = fleet.learner_restarts

    def outcome() -> str:
        ranks = learner.ready_ranks
        return f"learner formed anew with {ranks} rank(s)" if fleet.learner_restarts > before and ranks else ""

    return outcome


def _failed(loop: OnlineLoop) -> int:
    failed = loop.book.ledger.counts()["failed"]
    assert isinstance(failed, dict)
    return sum(failed.values())


def _order(handle: Any, order: Callable[[Any], None]) -> None:
    handle.__ray_call__.remote(order)
