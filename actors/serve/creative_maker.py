"""The models as the service sees them: one order through policy, renderer and scorer, each candidate handed on as it is finished."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from actors.serve.messages import Painted, PaintJob, PromptJob, Prompts, Scored, ScoreJob
from caig_rl.config.schema import Config
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import policy_view
from caig_rl.serving.creatives.maker_interface import NOT_SCORED, Made, Order
from caig_rl.serving.problems import Problem, wrong_field

logger = logging.getLogger(__name__)


class RayMaker:
    """A `CreativeMaker` over the handles of the three deployments."""

    def __init__(self, policy: DeploymentHandle, painter: DeploymentHandle, scorer: DeploymentHandle, config: Config, models: str) -> None:
        """`models`: hash of renderer and reward model."""
        self._policy, self._painter, self._scorer, self.models = policy, painter, scorer, models
        self._view_side = config.policy.image_size
        # What one batch of the renderer finishes together goes there and on together.
        self._together = config.renderer.batch_size

    async def make(self, order: Order) -> AsyncIterator[Made]:
        """See `CreativeMaker.make`."""
        text = instruction(Task.PROMPT_GENERATION, order.product, order.seed)
        view = await asyncio.to_thread(policy_view, order.cutout, self._view_side)
        job = PromptJob(text, view, order.seed, order.candidates, order.request_id)
        prompts: Prompts = await _answer(self._policy.prompts, order.version, job)
        if prompts.refused:
            raise wrong_field("title", prompts.refused, "control_token")
        finishing = [
            asyncio.create_task(self._finish(order, text, first, prompts.texts[first : first + self._together]))
            for first in range(0, len(prompts.texts), self._together)
        ]
        try:
            for finished in asyncio.as_completed(finishing):
                for made in await finished:
                    yield made
        finally:
            for task in finishing:
                task.cancel()

    async def _finish(self, order: Order, text: str, first: int, prompts: tuple[str, ...]) -> list[Made]:
        """Candidates `first` and following, painted and scored."""
        painted: list[Painted] = await _answer(self._painter.paint, PaintJob(order.cutout, prompts, order.seed, order.request_id))
        usable = [number for number, one in enumerate(painted) if not one.left_out]
        scores: dict[int, Scored] = {}
        if usable:
            job = ScoreJob(order.product, tuple(painted[number].view for number in usable), order.request_id)
            scores = dict(zip(usable, await _answer(self._scorer.score, job), strict=True))
        return [_made(first + number, text, prompts[number], one, scores.get(number)) for number, one in enumerate(painted)]


def _made(candidate: int, text: str, prompt: str, painted: Painted, scored: Scored | None) -> Made:
    if scored is None or not math.isfinite(scored.score):
        return Made(candidate, text, prompt, b"", math.nan, math.nan, painted.left_out or NOT_SCORED)
    return Made(candidate, text, prompt, painted.png, scored.score, scored.predicted_ctr)


async def _answer(method: Any, *arguments: Any) -> Any:
    """What a replica answers. One that dies with the job costs a second try: a job gives the same answer wherever it runs.

    Raises:
        Problem: 503 where the models have too much to do, or were lost twice.
    """
    try:
        try:
            return await method.remote(*arguments)
        except RayActorError as error:  # the replica was killed, or its node went; another one, or its successor, is asked
            logger.warning("a model's replica was lost, its job is tried again: %s", error)
            return await method.remote(*arguments)
    except BackPressureError as error:
        raise Problem(503, "busy", "the models have more work waiting than they can finish in time", retry_after=2) from error
    except (RayActorError, DeploymentUnavailableError) as error:
        raise Problem(503, "models_lost", "a model's process was lost with this request; try again", retry_after=10) from error
