"""An evaluation whose pictures are lost. The pipeline and the judge are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ObjectLostError, RayTaskError

from actors.evaluation.held_out import Evaluation, EvaluationError
from actors.rollout.rolled_out import RolledOut
from actors.rollout.shard import Shard
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply
from caig_rl.config.schema import Config
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.types import Judgement, PolicyVersion, Product, PromptCheck, Rollout, RolloutGroup

CONFIG = Config.model_validate({"evaluation": {"products": 2, "prompts_per_product": 1, "gallery": 0}})
PRODUCTS = [Product(name, name, "mugs") for name in ("a", "b")]
V0 = PolicyVersion(0, 0)


class FakePipeline:
    """Rolls every shard out, and counts."""

    def __init__(self) -> None:
        self.rolled = 0

    async def rollout(self, shard: Shard, **options: Any) -> RolledOut:
        self.rolled += 1
        groups = tuple(RolloutGroup(one, V0, "write", (Rollout("a table", (1,), (-1.0,)),)) for one in shard.admissions)
        policy, render = PolicyReply(groups, {}, V0, 1), RenderReply((), len(groups), 0)
        return RolledOut(shard, policy, render, ScoreReply(((0.5,),) * len(groups)), None, None, 1)  # type: ignore[arg-type]


def _measure(monkeypatch: pytest.MonkeyPatch, *answers: Any, products: Sequence[Product] = PRODUCTS) -> tuple[MeasuredPolicy, int]:
    """`answers`: what the judge's task comes to, one a call; the last for good."""
    left, pipeline = list(answers), FakePipeline()

    async def judge(*arguments: Any) -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def check(judge: Any, products: Sequence[Product], prompts: Sequence[Sequence[str]]) -> list[list[PromptCheck]]:
        return [
            [PromptCheck(text != "a table", False, (product.title,)) for text in row]
            for product, row in zip(products, prompts, strict=True)
        ]

    monkeypatch.setattr("actors.evaluation.held_out.judge_creatives", SimpleNamespace(remote=judge))
    monkeypatch.setattr("actors.evaluation.held_out.check_prompts", SimpleNamespace(remote=check))
    evaluation = Evaluation(CONFIG, products, None, object(), None)  # type: ignore[arg-type]
    return asyncio.run(evaluation.measure(pipeline, "before")), pipeline.rolled  # type: ignore[arg-type]


LOST = RayTaskError("judge_creatives", "traceback", ObjectLostError("0" * 56, "", ""))
JUDGED = [[Judgement(0.02, 0.7)], [Judgement(0.03, 0.6)]]


def test_a_shard_whose_pictures_went_with_their_node_before_they_were_judged_is_rolled_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, rolled = _measure(monkeypatch, LOST, JUDGED)
    assert rolled == 2 and measured.evaluated.product_ids == ("a", "b")
    assert measured.evaluated.ctrs is not None and measured.evaluated.ctrs.tolist() == [[0.02], [0.03]]


def test_pictures_that_are_always_lost_end_the_evaluation_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvaluationError, match="lost its pictures 5 times"):
        _measure(monkeypatch, LOST)


def test_a_judge_that_fails_by_itself_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RayTaskError):
        _measure(monkeypatch, RayTaskError("judge_creatives", "traceback", ValueError("no eyes")))


def test_every_prompt_is_checked_for_its_product(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = _measure(monkeypatch, JUDGED)[0].evaluated
    assert evaluated.checks == ((PromptCheck(False, False, ("a",)),), (PromptCheck(False, False, ("b",)),))
    assert evaluated.unseen == ()


def test_products_of_categories_that_training_does_not_see_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    products = [PRODUCTS[0], replace(PRODUCTS[1], unseen_category=True)]
    assert _measure(monkeypatch, JUDGED, products=products)[0].evaluated.unseen == (False, True)
