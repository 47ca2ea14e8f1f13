"""Breaks a run on purpose, by a seeded plan: to see that nothing is lost, on a cluster where that is welcome.

The plan is plain: which fault comes when is decided by the seed alone. `Killer` carries it out beside a running loop, through the same
handles that the loop itself holds, so it reaches workers on any node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from actors import strikes
from actors.online import OnlineLoop

logger = logging.getLogger(__name__)


class FaultKind(StrEnum):
    """What can be broken. `actors.strikes` says how."""

    WORKER = "worker"
    RANK = "rank"
    NODE = "node"
    DRIVER = "driver"
    """This process dies by SIGKILL, once since it began it has written a checkpoint, so that no run is killed for ever."""
    OBJECT = "object"
    SLOW = "slow"
    NAN = "nan"
    DISK = "disk"
    TORN = "torn"


STRIKES: Mapping[FaultKind, Callable[[OnlineLoop, int], str]] = {
    FaultKind.WORKER: strikes.kill_worker,
    FaultKind.RANK: strikes.kill_rank,
    FaultKind.NODE: strikes.kill_rollout_node,
    FaultKind.OBJECT: strikes.lose_object,
    FaultKind.SLOW: strikes.slow_worker,
    FaultKind.NAN: strikes.no_number,
    FaultKind.DISK: strikes.fill_disk,
    FaultKind.TORN: strikes.tear_weights,
}
"""All but the driver, which `Killer` ends itself."""


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
    """A kind that is named twice comes twice as often."""
    life: int = 0
    """Times that the driver was killed before: each of its lives has its own faults."""

    def strikes(self) -> Iterator[Strike]:
        """The same for the same plan, on every machine."""
        random = np.random.default_rng([self.seed, self.life])
        while True:
            delay = float(random.exponential(self.every_s))
            kind = self.kinds[int(random.integers(len(self.kinds)))]
            yield Strike(delay, kind, int(random.integers(2**31)))


class Killer:
    """Carries out a plan."""

    def __init__(self, plan: ChaosPlan, note: Callable[[str], None], end: Callable[[], None] | None = None) -> None:
        """`note` is told of every fault; `end` ends this process, by default at once and without a word."""
        self._plan, self._note, self._end = plan, note, end or _end_this_process
        self._steps_before: set[int] = set()
        self.done: Counter[FaultKind] = Counter()
        """Faults that were injected."""

    async def run(self, loop: OnlineLoop) -> None:
        """Strike until cancelled."""
        self._steps_before = set(strikes.complete_steps(loop))
        for strike in self._plan.strikes():
            await asyncio.sleep(strike.delay_s)
            self.strike(loop, strike)

    def strike(self, loop: OnlineLoop, strike: Strike) -> None:
        """Break one thing, where there is one to break."""
        is_driver = strike.kind is FaultKind.DRIVER
        broken = self._why_the_driver(loop) if is_driver else STRIKES[strike.kind](loop, strike.draw)
        if not broken:
            return
        self.done[strike.kind] += 1
        logger.warning("chaos: %s: %s", strike.kind, broken)
        self._note(f"chaos: {strike.kind}: {broken}")
        if is_driver:
            self._end()

    def _why_the_driver(self, loop: OnlineLoop) -> str:
        return "the driver is killed" if set(strikes.complete_steps(loop)) - self._steps_before else ""


def _end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
