"""Which fault comes when: decided by the seed alone. Plain, and imports no Ray: a dry run prints it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class FaultKind(StrEnum):
    """What can be broken. `actors.chaos.fault_injector` says how."""

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


DEFAULT_KINDS = (FaultKind.WORKER, FaultKind.RANK, FaultKind.OBJECT, FaultKind.SLOW, FaultKind.NAN)
POOLS = ("policy", "renderer", "scorer")
"""In the order in which a draw chooses among them."""
ANY_POOL = frozenset({FaultKind.WORKER, FaultKind.OBJECT, FaultKind.SLOW})
"""Kinds whose victim is a worker of the pool that the draw names."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault of a plan."""

    delay_s: float
    """After the one before."""
    kind: FaultKind
    draw: int
    """Decides the victim, among as many as there are then."""

    @property
    def target(self) -> str:
        """The pool that is hit, or what else is."""
        if self.kind in ANY_POOL:
            return f"{POOLS[self.draw % len(POOLS)]} pool"
        return {
            FaultKind.RANK: "learner",
            FaultKind.NODE: "a node of the pools",
            FaultKind.DRIVER: "driver",
            FaultKind.NAN: "scorer pool",
            FaultKind.DISK: "next checkpoint",
            FaultKind.TORN: "newest checkpoint, learner",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults without end, `every_s` apart on average. The first is counted from the first round's start."""

    seed: int
    every_s: float
    kinds: tuple[FaultKind, ...]
    """A kind that is named twice comes twice as often."""
    life: int = 0
    """Times that the run was taken up before: each of its lives has its own faults."""

    def faults(self) -> Iterator[PlannedFault]:
        """The same for the same plan, on every machine."""
        random = np.random.default_rng([self.seed, self.life])
        while True:
            delay = float(random.exponential(self.every_s))
            kind = self.kinds[int(random.integers(len(self.kinds)))]
            yield PlannedFault(delay, kind, int(random.integers(2**31)))
