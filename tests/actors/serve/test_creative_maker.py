"""One order through policy, renderer and scorer, over handles that answer in this process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from actors.serve.creative_maker import RayMaker
from actors.serve.messages import Painted, PaintJob, PromptJob, Prompts, Scored, ScoreJob
from caig_rl.config.schema import Config
from caig_rl.serving.creatives.maker_interface import Made, Order
from caig_rl.serving.problems import Problem
from tests.serving.made_creatives import MUG, cutout


class Method:
    """A method of a deployment's handle. `faults` are raised by its next calls."""

    def __init__(self, answer: Callable[..., Any], *faults: Exception) -> None:
        self._answer, self._faults = answer, list(faults)
        self.jobs: list[Any] = []

    async def remote(self, *arguments: Any) -> Any:
        self.jobs.append(arguments[-1])
        await asyncio.sleep(0)
        if self._faults:
            raise self._faults.pop(0)
        return self._answer(*arguments)


class Handles:
    """The three deployments."""

    def __init__(self, left_out: dict[str, str] | None = None, faults: tuple[Exception, ...] = ()) -> None:
        self._left_out = left_out or {}
        self.prompts, self.paint, self.score = Method(self._prompts), Method(self._paint, *faults), Method(self._score)

    def _prompts(self, version: str, job: PromptJob) -> Prompts:
        if "<image>" in job.instruction:
            return Prompts(refused="it holds <image>")
        return Prompts(tuple(f"{version} {k}" for k in range(job.num)))

    def _paint(self, job: PaintJob) -> list[Painted]:
        views = [np.full((4, 4, 3), int(prompt.split()[-1]), np.uint8) for prompt in job.prompts]
        return [Painted(prompt.encode(), view, self._left_out.get(prompt, "")) for prompt, view in zip(job.prompts, views, strict=True)]

    def _score(self, job: ScoreJob) -> list[Scored]:
        return [Scored(math.nan if view[0, 0, 0] == 3 else float(view[0, 0, 0]), 0.01) for view in job.views]


def maker(handles: Handles, batch_size: int) -> RayMaker:
    handle: Any = handles
    return RayMaker(handle, handle, handle, Config.model_validate({"renderer": {"batch_size": batch_size}}), "models")


def made(handles: Handles, candidates: int, batch_size: int = 16) -> dict[int, Made]:
    async def all_of_them() -> list[Made]:
        order = Order(MUG, cutout(), candidates, 7, "v1", "req-1")
        return [one async for one in maker(handles, batch_size).make(order)]

    found = asyncio.run(all_of_them())
    assert len({one.candidate for one in found}) == len(found)
    return {one.candidate: one for one in found}


def test_an_order_goes_to_the_renderer_and_to_the_scorer_in_one_piece_with_one_noise():
    handles = Handles()
    found = made(handles, 3)
    assert [(found[k].prompt, found[k].png, found[k].score) for k in range(3)] == [
        ("v1 0", b"v1 0", 0.0), ("v1 1", b"v1 1", 1.0), ("v1 2", b"v1 2", 2.0),
    ]  # fmt: skip
    (painted,), (scored,) = handles.paint.jobs, handles.score.jobs
    assert (painted.noise_seed, painted.request_id, scored.request_id) == (7, "req-1", "req-1")


def test_more_candidates_than_the_renderer_paints_at_once_come_batch_by_batch():
    handles = Handles()
    found = made(handles, 5, batch_size=2)
    assert [found[k].prompt for k in range(5)] == [f"v1 {k}" for k in range(5)]
    assert sorted(len(job.prompts) for job in handles.paint.jobs) == [1, 2, 2]


def test_what_is_left_out_is_not_scored_and_what_has_no_score_is_left_out():
    handles = Handles(left_out={"v1 0": "blank", "v1 2": "product_changed"})
    found = made(handles, 4)
    assert [found[k].left_out for k in range(4)] == ["blank", "", "product_changed", "not_scored"]
    assert all(found[k].png == b"" and math.isnan(found[k].score) for k in (0, 2, 3))
    assert len(handles.score.jobs[0].views) == 2
    nothing = Handles(left_out={"v1 0": "blank"})
    assert made(nothing, 1)[0].left_out == "blank"
    assert nothing.score.jobs == []


def test_a_replica_that_dies_with_a_job_costs_a_second_try_and_no_answer():
    handles = Handles(faults=(ActorDiedError(),))
    assert [one.prompt for one in made(handles, 2).values()] == ["v1 0", "v1 1"]
    assert len(handles.paint.jobs) == 2


@pytest.mark.parametrize(
    ("faults", "code"),
    [((ActorDiedError(), ActorDiedError()), "models_lost"), ((BackPressureError(num_queued_requests=9, max_queued_requests=9),), "busy")],
)
def test_models_that_are_lost_or_have_too_much_to_do_are_a_503_with_how_long_to_wait(faults: tuple[Exception, ...], code: str):
    with pytest.raises(Problem) as caught:
        made(Handles(faults=faults), 2)
    assert (caught.value.status, caught.value.code) == (503, code)
    assert caught.value.retry_after is not None
