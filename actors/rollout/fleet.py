"""Looks after the pools: sizes them by where the pipeline waits, and moves work off nodes that are about to go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from actors.rollout.node_draining import draining_nodes
from actors.rollout.pool_autoscaler import Autoscaler, Decision, Limits
from actors.rollout.worker_pool import WorkerPool
from caig_rl.config.schema import PoolsConfig
from caig_rl.runs.summary import FleetSummary, ScalingStep


class Fleet:
    """The pools of a run, by name."""

    def __init__(
        self,
        pools: Mapping[str, WorkerPool],
        config: PoolsConfig,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        draining: Callable[[], set[str]] | None = None,
    ) -> None:
        """`note` is told each decision; `draining` gives the ids of the nodes that are being emptied, by default Ray's."""
        self._pools, self._config, self._note, self._clock = dict(pools), config, note, clock
        self._draining = draining or draining_nodes
        scaling = config.scaling
        limits = {name: Limits(pool.least, pool.most) for name, pool in self._pools.items() if pool.most > pool.least}
        self._scaler = Autoscaler(limits, clock, scaling.window_s, scaling.grow_at)
        self._elastic = list(limits)
        self._start = clock()
        self._earlier: dict[str, Any] = {"replaced": {}, "stuck": {}, "scaling": [], "seconds": 0.0}
        self.decisions: list[Decision] = []

    async def look_after(self) -> None:
        """Look after the pools until cancelled."""
        while True:
            await asyncio.sleep(self._config.scaling.period_s)
            await self.step()

    async def step(self) -> None:
        """One look at all pools."""
        gone = await asyncio.to_thread(self._draining)
        if gone:
            for pool in self._pools.values():
                await pool.leave_nodes(gone)
        for decision in self._scaler.decide({name: self._pools[name].load() for name in self._elastic}):
            text = f"{decision.pool} pool {decision.before} -> {decision.after}: {decision.reason}"
            self._note(text)
            self.decisions.append(decision)
            await self._pools[decision.pool].resize(decision.after)

    def summary(self) -> FleetSummary:
        """What became of the workers, over all resumes of the run."""
        earlier = self._earlier
        before = earlier["seconds"] - self._start
        steps = [
            ScalingStep(pool=one.pool, before=one.before, after=one.after, reason=one.reason, at_s=before + one.at_s)
            for one in self.decisions
        ]
        return FleetSummary(
            replaced={name: earlier["replaced"].get(name, 0) + pool.replaced for name, pool in self._pools.items()},
            stuck={name: earlier["stuck"].get(name, 0) + pool.stuck for name, pool in self._pools.items()},
            scaling=(*(ScalingStep.model_validate(one) for one in earlier["scaling"]), *steps),
        )

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint: what became of the workers. The learner group's part is another's."""
        own = self.summary().model_dump(mode="json", exclude={"learner_restarts", "replayed"})
        return own | {"seconds": self._earlier["seconds"] + self._clock() - self._start}

    def restore(self, content: dict[str, Any]) -> None:
        """Go on counting from what `to_json` gave; other keys of `content` are left alone."""
        self._earlier = content
