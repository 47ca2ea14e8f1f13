from __future__ import annotations

import json
from pathlib import Path

from caig_rl.ablation.rewards import RewardToMake, accuracy_of
from tests.ablation.made_up import RECIPES, a_plan


def rewards(folder: Path, *overrides: str, text: str = RECIPES) -> dict[str, RewardToMake]:
    """By arm."""
    return {cell.arm.name: cell.reward for cell in a_plan(folder, *overrides, text=text).cells if cell.reward is not None}


def test_recipes_share_creatives_where_policy_renderer_and_world_are_the_same(tmp_path: Path) -> None:
    found = rewards(tmp_path)
    assert found["ours"].creatives == found["no-trap"].creatives  # who clicks, and how many of them are clicked, does not change a picture
    assert found["ours"].folder != found["no-trap"].folder
    assert found["elsewhere"].creatives != found["ours"].creatives
    assert found["elsewhere"].creatives.name.startswith("world1-")
    for changed in ("policy.temperature=0.8", "renderer.steps=2", "imaging.product_scale=0.7", "world.unseen_categories=2"):
        assert rewards(tmp_path, changed)["ours"].creatives != found["ours"].creatives, changed


def test_a_model_is_another_one_where_anything_that_it_is_made_by_differs(tmp_path: Path) -> None:
    name = rewards(tmp_path)["ours"].name
    for changed in ("reward.train.epochs=2", "clicks.policy=official", "world.trap=varied", "policy.top_p=0.9"):
        assert rewards(tmp_path, changed)["ours"].name != name, changed
    segmented = RECIPES.replace("ours: {overrides: [objective=dpo]", "ours: {overrides: [objective=dpo, 'segments.names=[gift givers]']")
    assert rewards(tmp_path, text=segmented)["ours"].name != rewards(tmp_path, text=segmented)["best"].name == name
    for recipe in ("products: 51", "products: 50, seed: 1", "products: 50, impressions: 100", "products: 50, candidates: 4"):
        assert rewards(tmp_path, text=RECIPES.replace("products: 50", recipe))["ours"].name != name, recipe


def test_a_model_stays_the_same_where_its_runs_or_its_machine_differ(tmp_path: Path) -> None:
    name = rewards(tmp_path)["ours"].name
    for changed in (
        "learner.lr=0.1",
        "rollout.rounds=3",
        "reward.train.threads=4",
        "cluster.num_cpus=7",
        "reward.margin=0.1",
        "run.name=z",
    ):
        assert rewards(tmp_path, changed)["ours"].name == name, changed


def test_a_model_is_made_once_its_metrics_are_there(tmp_path: Path) -> None:
    reward = rewards(tmp_path)["ours"]
    reward.folder.mkdir(parents=True)
    assert not reward.is_made and accuracy_of(reward) is None
    (reward.folder / "metrics.json").write_text(json.dumps({"heldout_accuracy": 0.8, "ceiling": 0.9}))
    assert reward.is_made and accuracy_of(reward) == (0.8, 0.9)
