"""Faults of the learner: a rank is killed, alone or with a checkpoint file cut short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.chaos.disk_faults import complete_steps
from actors.chaos.fault import InjectedFault, NoTarget

if TYPE_CHECKING:
    from actors.loop.online_loop import OnlineLoop


def kill_rank(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A rank of the learner."""
    return InjectedFault(kill_drawn_rank(loop, draw), learner_re_formed(loop))


def tear_weights(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A weight file of the newest checkpoint is cut short and a rank killed, so that the file is wanted.

    Only where an older checkpoint is left to go on from, and on local disks.
    """
    complete = complete_steps(loop)
    if len(complete) < 2:
        raise NoTarget(f"{len(complete)} complete checkpoints, and one must be left to go on from")
    folder = Path(loop.store.url(complete[-1]), "learner")
    if not folder.is_dir():
        raise NoTarget(f"{folder} is on no local disk")
    outcome, killed = learner_re_formed(loop), kill_drawn_rank(loop, draw)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[draw % len(files)]
    file.write_bytes(file.read_bytes()[:-1])
    return InjectedFault(f"{file.name} of checkpoint {complete[-1]} cut short, {killed}", outcome)


def kill_drawn_rank(loop: OnlineLoop, draw: int) -> str:
    """Kill the rank that the draw names, and say which it was. Raises NoTarget while the group is being formed."""
    learner = loop.learner_control.group
    ranks: Sequence[Any] = learner.handles()
    if not learner.ready_ranks:
        raise NoTarget("the learner is being formed")
    index = draw % len(ranks)
    ray.kill(ranks[index])
    return f"learner rank {index} of {len(ranks)} killed"


def learner_re_formed(loop: OnlineLoop) -> Callable[[], str]:
    """An outcome: says so once the group was re-formed after this call."""
    recoveries, learner = loop.learner_control.recoveries, loop.learner_control.group
    before = recoveries.count

    def outcome() -> str:
        ranks = learner.ready_ranks
        return f"learner re-formed with {ranks} rank(s)" if recoveries.count > before and ranks else ""

    return outcome
