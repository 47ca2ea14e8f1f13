"""What each fault of `actors.chaos` does to a running loop. Each says in words what it broke; nothing, where there was nothing to break."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.mischief import give_no_number, kill_node, lose_an_object, never_finish

if TYPE_CHECKING:
    from actors.online import OnlineLoop

HEAD_RESOURCE = "node:__internal_head__"


def kill_worker(loop: OnlineLoop, draw: int) -> str:
    """A worker of a pool, at work or not."""
    name, victims, draw = _pool(loop, draw)
    return _kill(victims, draw, f"{name} worker")


def kill_rank(loop: OnlineLoop, draw: int) -> str:
    """A rank of the learner."""
    return _kill(loop.teacher.learner.handles(), draw, "learner rank")


def kill_rollout_node(loop: OnlineLoop, draw: int) -> str:
    """A node that holds workers of a pool, and neither this process nor Ray's head."""
    held = {node: handle for pool in loop.pipeline.pools.values() for node, handle in pool.nodes().items()}
    spared = nodes_to_spare()
    victims = sorted(node for node in held if node not in spared)
    if not victims:
        return ""
    node = victims[draw % len(victims)]
    _order(held[node], kill_node)
    return f"node {node[:8]} of {len(victims)} killed"


def slow_worker(loop: OnlineLoop, draw: int) -> str:
    """A worker takes its next call and never finishes it."""
    name, victims, draw = _pool(loop, draw)
    return _tell(victims, draw, never_finish, f"a {name} worker was told to hang")


def no_number(loop: OnlineLoop, draw: int) -> str:
    """A scorer's next batch holds a score that is no number."""
    return _tell(loop.pipeline.pools["scorer"].handles(), draw, give_no_number, "a scorer was told to give NaN")


def lose_object(loop: OnlineLoop, draw: int) -> str:
    """The next object that a worker asks for is gone."""
    name, victims, draw = _pool(loop, draw)
    return _tell(victims, draw, lose_an_object, f"a {name} worker's next input was lost")


def fill_disk(loop: OnlineLoop, draw: int) -> str:
    """The disk is full when the next checkpoint but the last, which is the run's result, is to be sealed."""
    store, last = loop.store, loop.book.rounds_planned

    def full(step: int) -> None:
        if step < last:
            store.before_seal = None
            raise OSError(errno.ENOSPC, "No space left on device (chaos)")

    store.before_seal = full
    return "the disk will be full at the next checkpoint"


def tear_weights(loop: OnlineLoop, draw: int) -> str:
    """A weight file of the newest checkpoint is cut short and a rank killed, so that the file is wanted.

    Only where an older checkpoint is left to go on from, and on local disks.
    """
    complete = complete_steps(loop)
    if len(complete) < 2 or not Path(loop.store.url(complete[-1])).is_dir():
        return ""
    files = sorted(path for path in Path(loop.store.url(complete[-1]), "learner").rglob("*") if path.is_file())
    file = files[draw % len(files)]
    file.write_bytes(file.read_bytes()[:-1])
    return f"{file.name} of checkpoint {complete[-1]} cut short, and {kill_rank(loop, draw) or 'nobody wants it'}"


def complete_steps(loop: OnlineLoop) -> list[int]:
    """Steps of the complete checkpoints, rising."""
    return [step for step in loop.store.steps() if loop.store.is_complete(step)]


def nodes_to_spare() -> set[str]:
    """Ids of the nodes whose end is the run's: this process's and the head's."""
    heads = {str(node["NodeID"]) for node in ray.nodes() if HEAD_RESOURCE in node["Resources"]}
    return heads | {str(ray.get_runtime_context().get_node_id())}


def _pool(loop: OnlineLoop, draw: int) -> tuple[str, Sequence[Any], int]:
    pools: Mapping[str, Any] = loop.pipeline.pools
    name = sorted(pools)[draw % len(pools)]
    return name, pools[name].handles(), draw // len(pools)


def _kill(victims: Sequence[Any], draw: int, what: str) -> str:
    if not victims:
        return ""
    index = draw % len(victims)
    ray.kill(victims[index])
    return f"{what} {index} of {len(victims)} killed"


def _tell(victims: Sequence[Any], draw: int, order: Callable[[Any], None], what: str) -> str:
    if not victims:
        return ""
    _order(victims[draw % len(victims)], order)
    return what


def _order(handle: Any, order: Callable[[Any], None]) -> None:
    handle.__ray_call__.remote(order)
