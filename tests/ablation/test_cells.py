from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.ablation.cells import measured_key, refuse_other_settings
from caig_rl.config.load import config_yaml
from caig_rl.errors import ConfigError
from tests.ablation.made_up import RECIPES, TEXT, WORLDS, a_plan


def test_cells_come_seed_by_seed_and_after_the_cell_that_they_pick_from(tmp_path: Path) -> None:
    names = [cell.name for cell in a_plan(tmp_path).cells]
    first = ["two-seed0", "ours-seed0", "chance-seed0", "ours-of-3-seed0"]
    assert names == [*first, *(name.replace("seed0", "seed1") for name in first)]


def test_the_arms_own_settings_go_over_the_command_lines_and_those_over_the_files(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "objective=sft", "evaluation.bootstrap=200", "run.name=other")
    cell = next(cell for cell in plan.cells if cell.name == "ours-seed1")
    assert (cell.config.objective, cell.config.evaluation.bootstrap, cell.config.run.seed) == ("dpo", 200, 1)
    assert plan.folder.url == str(tmp_path / "runs" / "other")
    assert plan.cell_folder(cell.name).url == f"{cell.config.run.root}/{cell.config.run.name}"


def test_arms_and_seeds_can_be_selected_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    assert [cell.name for cell in a_plan(tmp_path, only=["chance"], seeds=[1]).cells] == ["chance-seed1"]
    with pytest.raises(ConfigError, match=r"--only: there is no arm 'chanse'; the nearest is chance"):
        a_plan(tmp_path, only=["chanse"])
    with pytest.raises(ConfigError, match="--seeds 7: the ablation has the seeds 0, 1"):
        a_plan(tmp_path, seeds=[7])


def test_a_wrong_key_of_an_arm_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"arm chance: (?s:.*)reward.kint.*the nearest is reward.kind"):
        a_plan(tmp_path, text=TEXT.replace("reward.kind", "reward.kint"))


def test_an_ablation_without_a_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"world\.judge is false"):
        a_plan(tmp_path, "world.judge=false")


def test_the_initial_policy_is_measured_once_a_seed_whatever_is_learned_from_it(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    keys = {cell.seed: {measured_key(one.measured_by) for one in plan.cells if one.seed == cell.seed} for cell in plan.cells}
    assert [len(found) for found in keys.values()] == [1, 1] and keys[0] != keys[1]
    other = a_plan(tmp_path, text=TEXT.replace("reward.kind=random", "renderer.steps=5"))
    assert len({measured_key(cell.measured_by) for cell in other.cells}) == 4


def test_a_policy_is_measured_with_enough_prompts_for_all_who_pick_from_it(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=TEXT.replace("n: 2", "n: 7"))
    assert {plan.initial_prompts(cell) for cell in plan.cells} == {7}
    assert plan.trained_prompts("ours-seed0") == 3
    assert {a_plan(tmp_path, only=["chance"]).initial_prompts(cell) for cell in plan.cells} == {2}


def test_a_finished_cell_whose_settings_changed_is_refused_with_what_differs(tmp_path: Path) -> None:
    cell = a_plan(tmp_path).cells[1]
    folder = a_plan(tmp_path).cell_folder(cell.name)
    folder.write_text("config.yaml", config_yaml(cell.config))
    refuse_other_settings(cell, folder)
    later = a_plan(tmp_path, "rollout.rounds=3", "cluster.num_cpus=3").cells[1]
    with pytest.raises(ConfigError, match=r"ours-seed0 was finished with other settings:\n  rollout.rounds: 2 -> 3\nTake"):
        refuse_other_settings(later, folder)


SEGMENTED = TEXT.replace("reward.kind=random", "'segments.names=[style seekers]'")


def test_an_arm_with_segments_has_an_initial_policy_of_its_own_and_the_others_keep_theirs(tmp_path: Path) -> None:
    keys = {cell.arm.name: measured_key(cell.measured_by) for cell in a_plan(tmp_path, text=SEGMENTED, seeds=[0]).cells}
    before = {cell.arm.name: measured_key(cell.measured_by) for cell in a_plan(tmp_path, seeds=[0]).cells}
    assert keys["chance"] != keys["ours"] == before["ours"]


def test_best_of_n_of_an_arm_with_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="arm ours-of-3: best_of_n picks one creative for everybody"):
        a_plan(tmp_path, text=TEXT.replace("learner.lr=0.01", "'segments.names=[style seekers]'"))


def test_arms_are_compared_inside_their_world(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=WORLDS)
    against = {arm.name: plan.compared_with(arm.name) for arm in plan.ablation.arms}
    assert against == {"ours": None, "bound": "ours", "no-trap": None, "ours-w1": None, "dpo-w1": "ours-w1"}
    assert plan.main_world == "world 0" and plan.is_bound("bound") and not plan.is_bound("ours")
    with pytest.raises(ConfigError, match="arm dpo-w1 is in world 1, and no-trap, which it is compared with, in world 0 without a trap"):
        a_plan(tmp_path, text=WORLDS.replace("compare: ours-w1", "compare: no-trap"))


def test_the_initial_policy_of_another_world_is_measured_there_and_a_bound_shares_that_of_its_own(tmp_path: Path) -> None:
    keys = {cell.arm.name: measured_key(cell.measured_by) for cell in a_plan(tmp_path, text=WORLDS, seeds=[0]).cells}
    assert keys["bound"] == keys["ours"] and keys["dpo-w1"] == keys["ours-w1"]
    assert len({keys["ours"], keys["no-trap"], keys["ours-w1"]}) == 3


def test_a_recipes_model_is_one_for_all_seeds_and_arms_of_a_world(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=RECIPES)
    models = {cell.name: cell.config.reward.model for cell in plan.cells}
    assert models["ours-seed0"] == models["ours-seed1"] == models["best-seed0"]
    assert models["elsewhere-seed0"] == models["elsewhere-best-seed1"] != models["no-trap-seed0"]
    assert models["as-base-seed0"] == "nano"
    assert [reward.recipe.name for reward in plan.rewards] == ["vam", "scorer", "scorer"]
    assert models["ours-seed0"] == str(plan.rewards[0].folder)
    assert [reward.name for reward in a_plan(tmp_path, text=RECIPES, only=["best"]).rewards] == [plan.rewards[0].name]


def test_a_run_whose_model_was_measured_in_the_making_shares_the_bases_measurement_where_the_world_is_the_bases(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=RECIPES, seeds=[0])
    keys = {cell.arm.name: measured_key(cell.measured_by) for cell in plan.cells}
    assert keys["ours"] == keys["as-base"] != keys["best"]  # who picks needs the scores of its own model
    assert keys["elsewhere"] == keys["elsewhere-best"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["catalog.path=shop.csv"], "its reward vam is made from clicks of the click world, and catalog.path names a catalog"),
        (["reward.train.image_size=128"], r"its reward vam would see 128 pixels a side .* kept at 64"),
        (["run.root=memory://runs"], "run.root=memory://runs: reward models are made on a disk"),
        (["reward.train.start_from=nano"], "leave reward.train.start_from empty"),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_before_anything_is_run(tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        a_plan(tmp_path, *overrides, text=RECIPES)


def test_a_finished_cell_stays_finished_where_the_ablation_was_moved_with_its_models(tmp_path: Path) -> None:
    cell = a_plan(tmp_path, text=RECIPES).cells[0]
    moved = next(one for one in a_plan(tmp_path, f"run.root={tmp_path}/elsewhere", text=RECIPES).cells if one.name == cell.name)
    folder = a_plan(tmp_path).cell_folder(cell.name)
    folder.write_text("config.yaml", config_yaml(cell.config))
    assert moved.config.reward.model != cell.config.reward.model
    refuse_other_settings(moved, folder)
    other = a_plan(tmp_path, text=RECIPES.replace("products: 50", "products: 60")).cells[0]
    with pytest.raises(ConfigError, match=r"finished with other settings:\n  reward\.model"):
        refuse_other_settings(other, folder)
