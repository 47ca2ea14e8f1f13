"""Workers that measure policies without training: the pools of the loop, and a learner that hands weights out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import ray

from actors.learner.group import LearnerGroup
from actors.rollout.pipeline import RolloutPipeline
from actors.telemetry.progress import Progress
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput
from caig_rl.config.schema import Config
from caig_rl.types import PolicyVersion


@dataclass(frozen=True, slots=True)
class MeasuringWorkers:
    """Up and ready."""

    pipeline: RolloutPipeline
    learner: LearnerGroup

    async def show(self, version: PolicyVersion, checkpoint: str | None = None) -> None:
        """Bring the weights at the address `checkpoint` to the policy workers, as `version`; None: those the model's folder holds."""
        if checkpoint is not None:
            await self.learner.load(checkpoint)
        await self.pipeline.go_live(await self.learner.publish(version))


@asynccontextmanager
async def measuring_workers(config: Config, progress: Progress, judge: ray.ObjectRef) -> AsyncIterator[MeasuringWorkers]:
    """Start them for the block, and stop them whatever ends it. Ray must be connected. `judge` refers to the Judge."""
    pipeline = RolloutPipeline(config, StageClock(), Throughput(), progress, judge=judge)
    learner = LearnerGroup(config)
    try:
        progress.phase("starting workers", 0)
        await asyncio.gather(learner.start(1), *(pool.start() for pool in pipeline.pools.values()))
        yield MeasuringWorkers(pipeline, learner)
    finally:
        learner.close()
        await pipeline.close()
