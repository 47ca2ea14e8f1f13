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
from actors.rollout.shard import Shard, evaluation_shards
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


class SegmentPipeline(FakePipeline):
    """Writes what it is asked for, and fails where it is told to."""

    def __init__(self, refused: tuple[str, str] = ("", "")) -> None:
        """`refused`: product and segment."""
        super().__init__()
        self.seeds: dict[str, list[int]] = {}
        self._refused = refused

    async def rollout(self, shard: Shard, **options: Any) -> RolledOut:
        rolled = await super().rollout(shard, **options)
        segment = shard.products[0].segment
        assert {one.segment for one in shard.products} == {segment} == {one.segment for one in shard.admissions}
        self.seeds[segment] = [one.seed for one in shard.admissions]
        groups = [replace(group, rollouts=(Rollout(f"for {segment}", (1,), (-1.0,)),)) for group in rolled.policy.groups if group]
        at = [index for index, one in enumerate(shard.products) if (one.product_id, segment) == self._refused]
        kept = tuple(None if index in at else group for index, group in enumerate(groups))
        return replace(rolled, policy=PolicyReply(kept, dict.fromkeys(at, "a control token"), V0, 1))


SHARES = {"teens": 0.75, "adults": 0.25}
CTRS = {("a", "teens"): 0.04, ("a", "adults"): 0.02, ("b", "teens"): 0.01, ("b", "adults"): 0.05}


def _measure_segments(monkeypatch: pytest.MonkeyPatch, pipeline: SegmentPipeline, gallery: int = 0) -> tuple[Evaluation, MeasuredPolicy]:
    async def judge(judge: Any, products: Sequence[Product], *arguments: Any) -> list[list[Judgement]]:
        return [[Judgement(CTRS[one.product_id, one.segment], 0.5)] for one in products]

    async def check(judge: Any, products: Sequence[Product], prompts: Sequence[Sequence[str]]) -> list[list[PromptCheck]]:
        return [[PromptCheck(False, False, (product.segment,))] for product in products]

    async def write(root: Any, name: Any, shown: Sequence[tuple[int, int, str]], *arguments: Any) -> None:
        return None

    monkeypatch.setattr("actors.evaluation.held_out.judge_creatives", SimpleNamespace(remote=judge))
    monkeypatch.setattr("actors.evaluation.held_out.check_prompts", SimpleNamespace(remote=check))
    monkeypatch.setattr("actors.evaluation.held_out.write_samples", SimpleNamespace(remote=write))
    config = CONFIG.model_copy(update={"evaluation": CONFIG.evaluation.model_copy(update={"gallery": gallery})})
    folder = SimpleNamespace(url="runs/one", name="one")
    evaluation = Evaluation(config, PRODUCTS, None, object(), folder, segments=SHARES)  # type: ignore[arg-type]
    return evaluation, asyncio.run(evaluation.measure(pipeline, "before"))  # type: ignore[arg-type]


def test_each_product_is_asked_and_judged_for_every_segment_on_the_same_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = SegmentPipeline()
    measured = _measure_segments(monkeypatch, pipeline)[1]
    evaluated = measured.evaluated
    answers = [(one.admission.segment, one.admission.product_id) for one in measured.answers]
    assert answers == [("teens", "a"), ("teens", "b"), ("adults", "a"), ("adults", "b")]
    assert evaluated.product_ids == ("a", "b") and evaluated.prompts == (("for teens", "for adults"),) * 2
    assert evaluated.ctrs is not None and evaluated.ctrs.tolist() == [[0.04, 0.02], [0.01, 0.05]]
    assert evaluated.per_product(evaluated.ctrs) == pytest.approx([0.035, 0.02])
    assert evaluated.checks is not None and evaluated.checks[0][1].attributes == ("adults",)
    assert pipeline.seeds["teens"] == pipeline.seeds["adults"] == [one.seed for one in evaluation_shards(PRODUCTS, 8, 0)[0].admissions]


def test_a_product_that_fails_for_one_segment_is_left_out_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = _measure_segments(monkeypatch, SegmentPipeline(("a", "adults")))[1]
    assert measured.evaluated.product_ids == ("b",) and measured.left_out == {"a": "a control token"}


def test_the_gallery_shows_the_segments_in_turn_and_says_whom_a_picture_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation, measured = _measure_segments(monkeypatch, SegmentPipeline(), gallery=2)
    shown = [(one.product_id, one.segment, one.after.prompt, one.after.ctr) for one in evaluation.gallery(measured, measured)]
    assert shown == [("a", "teens", "for teens", 0.04), ("b", "adults", "for adults", 0.05)]


def test_the_ceiling_is_the_mean_of_each_segments_own_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ceilings(pipeline: Any, config: Any, products: Sequence[Product], *arguments: Any) -> dict[str, float]:
        return {one.product_id: CTRS[one.product_id, one.segment] for one in products if (one.product_id, one.segment) != ("b", "teens")}

    monkeypatch.setattr("actors.evaluation.held_out.measure_ceilings", ceilings)
    evaluation = _measure_segments(monkeypatch, SegmentPipeline())[0]
    assert asyncio.run(evaluation.ceilings(None)) == pytest.approx({"a": 0.035})  # type: ignore[arg-type]


def test_prompts_for_everybody_keep_what_each_segment_would_click(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = [[Judgement(0.02, 0.7, {"teens": 0.01, "adults": 0.05})], [Judgement(0.03, 0.6, {"teens": 0.02, "adults": 0.06})]]
    evaluated = _measure(monkeypatch, judged)[0].evaluated
    assert not evaluated.shares and {name: row.tolist() for name, row in evaluated.segment_ctrs.items()} == {
        "teens": [[0.01], [0.02]],
        "adults": [[0.05], [0.06]],
    }
