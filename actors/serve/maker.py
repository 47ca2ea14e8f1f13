"""The models as the service sees them: one order through policy, renderer and scorer, each candidate handed on as it is finished."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from actors.serve.messages import Painted, PromptJob, Prompts
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import policy_view
from caig_rl.serving.making import Made, Order
from caig_rl.serving.problems import Problem, wrong_field


class RayMaker:
    """A `CreativeMaker` over the handles of the three deployments."""

    def __init__(self, policy: DeploymentHandle, painter: DeploymentHandle, scorer: DeploymentHandle, view_side: int, models: str) -> None:
        """`view_side`: of the policy's picture, in pixels; `models`: hash of renderer and reward model."""
        self._policy, self._painter, self._scorer = policy, painter, scorer
        self._view_side, self.models = view_side, models

    async def make(self, order: Order) -> AsyncIterator[Made]:
        """See `CreativeMaker.make`."""
        text = instruction(Task.PROMPT_GENERATION, order.product, order.seed)
        job = PromptJob(text, policy_view(order.cutout, self._view_side), order.seed, order.candidates)
        prompts: Prompts = await _answered(self._policy.prompts.remote(order.version, job))
        if prompts.refused:
            raise wrong_field("title", prompts.refused, "control_token")
        finishing = [asyncio.create_task(self._finish(order, text, k, prompt)) for k, prompt in enumerate(prompts.texts)]
        try:
            for finished in asyncio.as_completed(finishing):
                yield await finished
        finally:
            for task in finishing:
                task.cancel()

    async def _finish(self, order: Order, text: str, candidate: int, prompt: str) -> Made:
        # One noise for all candidates of an order, as in training: they differ by their prompt alone.
        painted: Painted = await _answered(self._painter.paint.remote(order.cutout, prompt, order.seed))
        if painted.left_out:
            return Made(candidate, text, prompt, b"", math.nan, math.nan, painted.left_out)
        score, ctr = await _answered(self._scorer.score.remote(order.product, painted.view))
        if not math.isfinite(score):
            return Made(candidate, text, prompt, b"", math.nan, math.nan, "not_scored")
        return Made(candidate, text, prompt, painted.png, score, ctr)


async def _answered(response: Any) -> Any:
    try:
        return await response
    except BackPressureError as error:
        raise Problem(503, "busy", "the models have more work waiting than they can finish in time", retry_after=2) from error
