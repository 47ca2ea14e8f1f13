"""Breaks a run on purpose, by a seeded plan: to see that nothing is lost, on a cluster where that is welcome.

`FaultInjector` carries out a `FaultPlan` beside a running loop, through the same handles that the loop itself holds, so it reaches workers
on any node. It begins with the first round, takes only what is up, and records what became of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

from actors.chaos.disk_faults import complete_steps, fill_disk
from actors.chaos.fault import InjectedFault, NoTarget
from actors.chaos.fault_plan import FaultKind, FaultPlan, PlannedFault
from actors.chaos.fault_records import FaultRecord, FaultRecords
from actors.chaos.learner_faults import kill_rank, tear_weights
from actors.chaos.node_faults import kill_rollout_node
from actors.chaos.worker_faults import kill_worker, lose_object, no_number, slow_worker
from actors.loop.online_loop import OnlineLoop

LOOK_S = 0.25
"""Between two looks for what became of a fault, or for a victim."""

INJECTIONS: Mapping[FaultKind, Callable[[OnlineLoop, int], InjectedFault]] = {
    FaultKind.WORKER: kill_worker,
    FaultKind.RANK: kill_rank,
    FaultKind.NODE: kill_rollout_node,
    FaultKind.OBJECT: lose_object,
    FaultKind.SLOW: slow_worker,
    FaultKind.NAN: no_number,
    FaultKind.DISK: fill_disk,
    FaultKind.TORN: tear_weights,
}
"""All but the driver, which `FaultInjector` ends itself."""


class FaultInjector:
    """Carries out a plan."""

    def __init__(self, plan: FaultPlan, records: FaultRecords | None = None, end: Callable[[], None] | None = None) -> None:
        """`records`: of the run's earlier lives, if any; `end` ends this process, by default at once and without a word."""
        self._plan, self._end = plan, end or _end_this_process
        self._steps_before: set[int] = set()
        self._open: list[tuple[FaultRecord, Callable[[], str]]] = []
        self.records = records or FaultRecords()

    @property
    def done(self) -> Counter[FaultKind]:
        """Faults that were injected, in all lives."""
        return self.records.counts()

    async def run(self, loop: OnlineLoop) -> None:
        """Inject faults from the first round on, until cancelled."""
        self._steps_before = set(complete_steps(loop))
        self.records.begin_life()
        await loop.rounds_begun.wait()
        try:
            await asyncio.gather(self._carry_out(loop), self._look_for_outcomes(loop))
        finally:
            self.look(loop)

    def inject(self, loop: OnlineLoop, fault: PlannedFault) -> None:
        """Break one thing. Raises NoTarget where there is nothing of the kind to break now."""
        if fault.kind is FaultKind.DRIVER:
            if not set(complete_steps(loop)) - self._steps_before:
                raise NoTarget("no checkpoint was written since the driver began")
            self._add(loop, fault.kind, "the driver")
            self._end()
            return
        injected = INJECTIONS[fault.kind](loop, fault.draw)
        self._open.append((self._add(loop, fault.kind, injected.what), injected.outcome))

    def look(self, loop: OnlineLoop) -> None:
        """See what became of the faults that nothing was seen of yet."""
        for fault, outcome in list(self._open):
            if found := outcome():
                self._open.remove((fault, outcome))
                self.records.settle(fault, found)
                loop.note(f"chaos: {fault.kind}: {fault.victim}: {found} after {fault.after_s:.1f} s")

    def _add(self, loop: OnlineLoop, kind: FaultKind, what: str) -> FaultRecord:
        loop.note(f"chaos: {kind}: {what}")
        return self.records.add(kind, what)

    async def _carry_out(self, loop: OnlineLoop) -> None:
        for fault in self._plan.faults():
            await asyncio.sleep(fault.delay_s)
            await self._inject_when_possible(loop, fault)

    async def _inject_when_possible(self, loop: OnlineLoop, fault: PlannedFault) -> None:
        """Wait for a victim that is up, but not longer than until the next fault is due."""
        limit = time.monotonic() + self._plan.every_s
        while True:
            try:
                return self.inject(loop, fault)
            except NoTarget as nothing:
                if time.monotonic() >= limit:
                    self.records.missed(fault.kind, str(nothing))
                    return
            await asyncio.sleep(LOOK_S)

    async def _look_for_outcomes(self, loop: OnlineLoop) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(loop)


def _end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
