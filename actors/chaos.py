"""Breaks a run on purpose, by a seeded plan: to see that nothing is lost, on a cluster where that is welcome.

The plan is plain: which fault comes when is decided by the seed alone. `Killer` carries it out beside a running loop, through the same
handles that the loop itself holds, so it reaches workers on any node.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import ray

from actors.mischief import give_no_number, never_finish
from actors.online import OnlineLoop

logger = logging.getLogger(__name__)


class FaultKind(StrEnum):
    """What can be broken."""

    WORKER = "worker"
    """Kill a worker of a pool, at work or not."""
    RANK = "rank"
    """Kill a rank of the learner."""
    SLOW = "slow"
    """A worker takes its next call and never finishes it."""
    NAN = "nan"
    """A scorer's next batch holds a score that is no number."""
    TORN = "torn"
    """Cut a weight file of the newest checkpoint short, and kill a rank, so that the file is wanted."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of a plan."""

    delay_s: float
    """After the one before."""
    kind: FaultKind
    draw: int
    """Decides the victim, among as many as there are then."""


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """Faults without end, `every_s` apart on average."""

    seed: int
    every_s: float
    kinds: tuple[FaultKind, ...]

    def strikes(self) -> Iterator[Strike]:
        """The same for the same plan, on every machine."""
        random = np.random.default_rng(self.seed)
        while True:
            delay = float(random.exponential(self.every_s))
            kind = self.kinds[int(random.integers(len(self.kinds)))]
            yield Strike(delay, kind, int(random.integers(2**31)))


class Killer:
    """Carries out a plan."""

    def __init__(self, plan: ChaosPlan, note: Callable[[str], None]) -> None:
        """`note` is told of every fault."""
        self._plan, self._note = plan, note
        self.done: Counter[FaultKind] = Counter()
        """Faults that were injected."""

    async def run(self, loop: OnlineLoop) -> None:
        """Strike until cancelled."""
        for strike in self._plan.strikes():
            await asyncio.sleep(strike.delay_s)
            victim = self._strike(loop, strike)
            if victim:
                self.done[strike.kind] += 1
                logger.warning("chaos: %s %s", strike.kind, victim)
                self._note(f"chaos: {strike.kind} {victim}")

    def _strike(self, loop: OnlineLoop, strike: Strike) -> str:
        """What was broken; empty where there was nothing to break."""
        if strike.kind is FaultKind.TORN:
            return _tear(loop, strike.draw)
        if strike.kind is FaultKind.RANK:
            return _kill(loop.teacher.learner.handles(), strike.draw, "learner rank")
        pools = loop.pipeline.pools
        if strike.kind is FaultKind.NAN:
            return _ask(pools["scorer"].handles(), strike.draw, give_no_number, "a scorer")
        name = sorted(pools)[strike.draw % len(pools)]
        victims = pools[name].handles()
        if strike.kind is FaultKind.WORKER:
            return _kill(victims, strike.draw // len(pools), f"{name} worker")
        return _ask(victims, strike.draw // len(pools), never_finish, f"a {name} worker")


def _kill(victims: Sequence[Any], draw: int, what: str) -> str:
    if not victims:
        return ""
    index = draw % len(victims)
    ray.kill(victims[index])
    return f"{what} {index} of {len(victims)} killed"


def _ask(victims: Sequence[Any], draw: int, order: Callable[[Any], None], what: str) -> str:
    if not victims:
        return ""
    victims[draw % len(victims)].__ray_call__.remote(order)
    return f"{what} was told to misbehave"


def _tear(loop: OnlineLoop, draw: int) -> str:
    """Only where an older checkpoint is left to go on from, and on local disks."""
    complete = [step for step in loop.store.steps() if loop.store.is_complete(step)]
    if len(complete) < 2 or not Path(loop.store.url(complete[-1])).is_dir():
        return ""
    files = sorted(path for path in Path(loop.store.url(complete[-1]), "learner").rglob("*") if path.is_file())
    file = files[draw % len(files)]
    file.write_bytes(file.read_bytes()[:-1])
    return f"{file.name} of checkpoint {complete[-1]} cut short, and {_kill(loop.teacher.learner.handles(), draw, 'learner rank')}"
