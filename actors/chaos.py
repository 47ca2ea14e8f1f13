"""Breaks a run on purpose, by a seeded plan: to see that nothing is lost, on a cluster where that is welcome.

`Killer` carries out an `actors.chaos_plan` beside a running loop, through the same handles that the loop itself holds, so it reaches
workers on any node. It begins with the first round, takes only what is up, and writes into an `actors.chaos_tally` what became of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

from actors import strikes
from actors.chaos_plan import ChaosPlan, FaultKind, Strike
from actors.chaos_tally import Injected, Tally
from actors.online import OnlineLoop
from actors.strikes import NothingToBreak, Struck

LOOK_S = 0.25
"""Between two looks for what became of a fault, or for a victim."""

STRIKES: Mapping[FaultKind, Callable[[OnlineLoop, int], Struck]] = {
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


class Killer:
    """Carries out a plan."""

    def __init__(self, plan: ChaosPlan, tally: Tally | None = None, end: Callable[[], None] | None = None) -> None:
        """`tally`: of the run's earlier lives, if any; `end` ends this process, by default at once and without a word."""
        self._plan, self._end = plan, end or _end_this_process
        self._steps_before: set[int] = set()
        self._open: list[tuple[Injected, Callable[[], str]]] = []
        self.tally = tally or Tally()

    @property
    def done(self) -> Counter[FaultKind]:
        """Faults that were injected, in all lives."""
        return self.tally.counts()

    async def run(self, loop: OnlineLoop) -> None:
        """Strike from the first round on, until cancelled."""
        self._steps_before = set(strikes.complete_steps(loop))
        self.tally.begin_life()
        await loop.rounds_begun.wait()
        try:
            await asyncio.gather(self._strike_on(loop), self._look_on(loop))
        finally:
            self.look(loop)

    def strike(self, loop: OnlineLoop, strike: Strike) -> None:
        """Break one thing. Raises NothingToBreak where there is nothing of the kind to break now."""
        if strike.kind is FaultKind.DRIVER:
            if not set(strikes.complete_steps(loop)) - self._steps_before:
                raise NothingToBreak("no checkpoint was written since the driver began")
            self._add(loop, strike.kind, "the driver")
            self._end()
            return
        struck = STRIKES[strike.kind](loop, strike.draw)
        self._open.append((self._add(loop, strike.kind, struck.what), struck.outcome))

    def look(self, loop: OnlineLoop) -> None:
        """See what became of the faults that nothing was seen of yet."""
        for fault, outcome in list(self._open):
            if found := outcome():
                self._open.remove((fault, outcome))
                self.tally.settle(fault, found)
                loop.note(f"chaos: {fault.kind}: {fault.victim}: {found} after {fault.after_s:.1f} s")

    def _add(self, loop: OnlineLoop, kind: FaultKind, what: str) -> Injected:
        loop.note(f"chaos: {kind}: {what}")
        return self.tally.add(kind, what)

    async def _strike_on(self, loop: OnlineLoop) -> None:
        for strike in self._plan.strikes():
            await asyncio.sleep(strike.delay_s)
            await self._strike_when_possible(loop, strike)

    async def _strike_when_possible(self, loop: OnlineLoop, strike: Strike) -> None:
        """Wait for a victim that is up, but not longer than until the next fault is due."""
        limit = time.monotonic() + self._plan.every_s
        while True:
            try:
                return self.strike(loop, strike)
            except NothingToBreak as nothing:
                if time.monotonic() >= limit:
                    self.tally.missed(strike.kind, str(nothing))
                    return
            await asyncio.sleep(LOOK_S)

    async def _look_on(self, loop: OnlineLoop) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(loop)


def _end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
