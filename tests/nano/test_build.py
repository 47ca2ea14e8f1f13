"""Single stages of `caig-rl nano build`: from what is built or shipped, or with a word on what is missing."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.config.reward import RewardTrainConfig
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.loading import load_reward
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.nano.build import NEEDS, STAGES, BuildPlan, NanoBuilder, check_stages
from caig_rl.nano.reward import (
    FIRST_SEEDS,
    LoggedCreatives,
    counts_by_segment,
    logged_counts,
    reading_practice,
    reward_groups,
    segmented_groups,
    split_products,
    train_nano_reward,
)
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.tastes import SEGMENTS
from caig_rl.world.vocabulary import caption, draw_spec
from tests.tiny import make_tiny_policy


def drawn_creatives(products: int, candidates: int) -> LoggedCreatives:
    rng = np.random.default_rng(0)
    out = LoggedCreatives([], [], [])
    for product in WorldProducts(0, products, "reward").products:
        for _ in range(candidates):
            spec = draw_spec(rng)
            out.products.append(product)
            out.views.append(draw_scene(spec, rng))
            out.prompts.append(caption(spec))
    return out


def test_every_stage_reads_only_stages_before_it():
    assert all(STAGES.index(needed) < STAGES.index(name) for name, inputs in NEEDS.items() for needed in inputs)
    assert list(NanoBuilder(Path(), BuildPlan(), Config(), lambda *step: None).stages()) == list(STAGES)


def test_the_reward_stage_alone_names_what_is_missing_and_the_command_that_builds_it(tmp_path: Path):
    result = CliRunner().invoke(app, ["nano", "build", "--folder", str(tmp_path), "--only", "reward", "--no-install"])
    assert result.exit_code == 1
    assert "creatives" in result.stderr
    assert "--only creatives --only reward" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_stages_are_complete_with_what_is_built_shipped_or_built_with_them(tmp_path: Path):
    check_stages(tmp_path, ["creatives", "backbone", "reward"])
    for name in ("creatives",):
        (tmp_path / name).mkdir()
    check_stages(tmp_path, ["reward"])
    with pytest.raises(UserError, match="no stage 'rewrad'"):
        check_stages(tmp_path, ["rewrad"])
    with pytest.raises(UserError, match="vae and unet"):
        check_stages(tmp_path, ["controlnet"])


def test_a_stage_run_alone_replaces_its_old_result_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("creatives", "backbone", "reward"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    monkeypatch.setattr(NanoBuilder, "_reward", lambda self, folder: (folder / "new").touch())
    NanoBuilder(tmp_path, BuildPlan(), Config(), lambda *step: None).run(["reward"])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "backbone/old",
        "creatives/old",
        "reward/new",
    ]


def train_reward(folder: Path, segments: tuple[str, ...] = ()) -> tuple[dict[str, float], list[tuple[object, ...]]]:
    """Metrics and steps. In a process of its own: another test's vLLM may have closed the process group that DeepSpeed knows of."""
    seen: list[tuple[object, ...]] = []
    config = RewardTrainConfig(epochs=2, patience=2, batch_size=4, lr=1e-3, zero_stage=0)
    backbone = make_tiny_policy(folder / "backbone")
    metrics = train_nano_reward(
        backbone, drawn_creatives(12, 3), WorldJudge(0), config, 0, folder / "out", lambda *step: seen.append(step[:3]), segments
    )
    return metrics, seen


def test_the_reward_stage_learns_by_the_shared_trainer_and_writes_a_folder_that_loads(tmp_path: Path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        metrics, seen = pool.submit(train_reward, tmp_path).result()
    assert seen == [("reward", 1, 2), ("reward", 2, 2)]
    assert isinstance(load_reward(resolve_model_folder(str(tmp_path / "out"), "reward")), RewardScorer)
    assert metrics["heldout_pairs"] <= 3
    assert 0.0 <= metrics["heldout_accuracy"] <= 1.0
    assert metrics["ceiling"] > 0.5
    spec = json.loads((tmp_path / "out" / "reward.json").read_text())
    assert spec["kind"] == "scorer"
    assert spec["tau"] > 0.0
    assert -6.0 < spec["prior_logit"] < -2.0


def test_the_backbone_practises_on_no_product_whose_clicks_are_kept_from_training():
    creatives = drawn_creatives(20, 2)
    split = split_products(20, 0)
    told = reading_practice(creatives, 0)
    assert len(told) == 32
    kept = {id(view) for k in (*split.validation, *split.heldout) for view in creatives.views[2 * k : 2 * k + 2]}
    assert not kept & {id(example.image) for example in told}


def test_the_guard_learns_from_other_products_clicks_and_seeds_than_the_reward_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn, trained, told = list[tuple[str, ...]](), list[tuple[object, ...]](), list[str]()

    def draw(function, policy, pipeline, config, split, products, candidates, threads, progress):
        drawn.append(tuple(product.product_id for product in WorldProducts(0, products, split).products))
        progress("creatives", 1, 1, 0.0)
        return f"creatives of {split}"

    def train(backbone, creatives, judge, config, seed, folder, progress, segments):
        trained.append((creatives, seed, config))
        progress("reward", 1, 1, 0.0)
        return {}

    monkeypatch.setattr("caig_rl.nano.build.in_own_process", draw)
    monkeypatch.setattr("caig_rl.nano.build.train_nano_reward", train)
    builder = NanoBuilder(tmp_path, BuildPlan(reward_products=20), Config(), lambda stage, *step: told.append(stage))
    builder.run(["creatives", "reward", "guard_creatives", "guard_reward"])
    assert len(drawn[0]) == len(drawn[1]) == 20 and not set(drawn[0]) & set(drawn[1])
    (reward, guard) = trained
    assert (reward[:2], guard[:2]) == (("creatives of reward", 0), ("creatives of guard", 1)) and reward[2] == guard[2]
    assert told == ["creatives", "reward", "guard_creatives", "guard_reward"]
    assert set(FIRST_SEEDS) == {"reward", "guard"} and abs(FIRST_SEEDS["reward"] - FIRST_SEEDS["guard"]) > BuildPlan().reward_products


def test_the_guard_alone_is_built_from_the_shipped_policy_renderer_and_backbone(tmp_path: Path):
    check_stages(tmp_path, ["guard_creatives", "guard_reward"])
    with pytest.raises(UserError, match="--only guard_creatives --only guard_reward"):
        check_stages(tmp_path, ["guard_reward"])


@pytest.mark.parametrize("count", [3, 4, 20, 1260])
def test_what_chooses_the_epoch_is_neither_trained_on_nor_measured(count: int):
    split = split_products(count, 0)
    parts = (split.training, split.validation, split.heldout)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert min(len(part) for part in parts) >= 1
    assert len(split.validation) == len(split.heldout) <= max(count // 10, 1)
    with pytest.raises(ValueError, match="at least 3"):
        split_products(2, 0)


def test_the_best_epoch_and_the_prior_are_found_without_the_products_that_accuracy_is_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, set[int]] = {}

    def note_splits(config, clicks, facts, backbone, training, validation, *rest):
        seen.update(training={*training[1].tolist()}, validation={*validation[1].tolist()})
        raise RuntimeError("seen")

    monkeypatch.setattr("caig_rl.nano.reward.train_in_memory", note_splits)
    with pytest.raises(RuntimeError, match="seen"):
        train_nano_reward(tmp_path, drawn_creatives(12, 2), WorldJudge(0), RewardTrainConfig(), 0, tmp_path, lambda *step: None)
    measured = set(split_products(12, 0).heldout.tolist())
    assert seen["validation"] and not seen["validation"] & seen["training"]
    assert measured and not measured & (seen["validation"] | seen["training"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_reward_model_is_rebuilt_from_the_shipped_policy_and_renderer(tmp_path: Path):
    plan = BuildPlan(corpus=64, reward_products=6, reward_candidates=2, seeing_steps=2, seeing_steps_of_two=2, reward_epochs=1)
    NanoBuilder(tmp_path, plan, Config(), lambda *step: None).run(["creatives", "backbone", "reward"])
    assert len(pickle.loads((tmp_path / "creatives" / "creatives.pickle").read_bytes()).views) == 12
    metrics = json.loads((tmp_path / "reward" / "metrics.json").read_text())
    assert set(metrics) == {"heldout_accuracy", "heldout_pairs", "ceiling"}
    assert load_reward(resolve_model_folder(str(tmp_path / "reward"), "reward")).spec.tau > 0.0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_policy_is_tuned_from_the_pretrained_one_and_its_tower_learns(tmp_path: Path):
    before = AutoModelForImageTextToText.from_pretrained(make_tiny_policy(tmp_path / "pretrained")).state_dict()
    plan = BuildPlan(corpus=96, product_seeing_steps=2, tuning_steps=2)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(run_stage, tmp_path, plan, "policy").result()
    after = AutoModelForImageTextToText.from_pretrained(tmp_path / "policy").state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert all(any(part in name for name in moved) for part in ("vision_model", "connector", "text_model"))


def run_stage(folder: Path, plan: BuildPlan, name: str) -> None:
    NanoBuilder(folder, plan, Config(), lambda *step: None).run([name])


def test_the_reward_model_learns_the_whole_log_and_each_segments_part_of_the_same_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: dict[str, Any] = {}

    def note(config, clicks, facts, backbone, training, validation, seed, folder, on_epoch, segments):
        told.update(facts=facts, groups=training[0], training=training[1], validation=validation[1], segments=segments)
        raise RuntimeError("seen")

    monkeypatch.setattr("caig_rl.nano.reward.train_in_memory", note)
    creatives = drawn_creatives(12, 2)
    with pytest.raises(RuntimeError, match="seen"):
        train_nano_reward(tmp_path, creatives, WorldJudge(0), RewardTrainConfig(), 0, tmp_path, lambda *step: None, SEGMENTS)
    groups, split = told["groups"], split_products(12, 0)
    assert groups["segment"] == [name for name in ("", *SEGMENTS) for _ in range(12)]
    assert groups["product_id"] == groups["product_id"][:12] * 4 and groups["images"] == groups["images"][:12] * 4
    for name in ("impressions", "clicks"):
        whole, *parts = (np.stack(groups[name][start : start + 12]) for start in range(0, 48, 12))
        assert np.array_equal(sum(parts), whole)
    for part, products in (("training", split.training), ("validation", split.validation)):
        assert {int(index) % 12 for index in told[part]} == set(products.tolist()) and len(told[part]) == 4 * len(products)
    assert told["segments"] == SEGMENTS
    assert told["facts"].mean_clicks == pytest.approx(np.mean([groups["clicks"][int(k)].mean() for k in told["training"]]))


def test_without_segments_the_reward_model_is_told_what_it_was_before():
    creatives = drawn_creatives(4, 2)
    shown, clicked = logged_counts(creatives, WorldJudge(0), 0)
    groups = segmented_groups(creatives, counts_by_segment(creatives, WorldJudge(0), 0))
    before = reward_groups(creatives, shown, clicked)
    assert set(groups) == {*before, "segment"} and set(groups["segment"]) == {""}
    assert groups["images"] == before["images"]
    assert all(np.array_equal(groups[name], before[name]) for name in ("impressions", "clicks", "product_id"))


@pytest.mark.parametrize(("wanted", "expected"), [(False, ()), (True, SEGMENTS)])
def test_the_plan_and_the_command_say_whether_segments_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool, expected: tuple[str, ...]
):
    seen: list[tuple[str, ...]] = []
    (tmp_path / "creatives").mkdir()
    (tmp_path / "creatives" / "creatives.pickle").write_bytes(pickle.dumps(drawn_creatives(3, 2)))
    monkeypatch.setattr("caig_rl.nano.build.train_nano_reward", lambda *arguments: seen.append(arguments[-1]) or {})
    command = ["nano", "build", "--folder", str(tmp_path), "--only", "reward", "--no-install", *(["--segments"] if wanted else [])]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert seen == [expected] and BuildPlan().reward_segments is False


def test_a_reward_model_that_learned_segments_says_which_and_is_measured_among_each(tmp_path: Path):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        metrics, _ = pool.submit(train_reward, tmp_path, SEGMENTS).result()
    names = {"heldout_accuracy", "heldout_pairs", "ceiling"}
    assert set(metrics) == names | {f"{name}/{segment}" for name in names for segment in SEGMENTS}
    scorer = load_reward(resolve_model_folder(str(tmp_path / "out"), "reward"))
    assert scorer.spec.segments == SEGMENTS
    product, picture = WorldProducts(0, 1).products[0], draw_scene(draw_spec(np.random.default_rng(1)), np.random.default_rng(1))
    scores = scorer.score([product, *(product.shown_to(name) for name in SEGMENTS)], [picture] * 4)
    assert len(set(scores.tolist())) == 4
