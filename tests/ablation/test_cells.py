from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.ablation.cells import measured_key, refuse_other_settings
from caig_rl.config.load import config_yaml
from caig_rl.errors import ConfigError
from tests.ablation.made_up import TEXT, a_plan


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
    other = a_plan(tmp_path, text=TEXT.replace("reward.kind=random", "renderer.steps=3"))
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
