from __future__ import annotations

import json
from pathlib import Path

from caig_rl.ablation.table import HEADINGS, markdown, reward_rows
from tests.ablation.made_up import RECIPES, WORLDS, a_plan, record
from tests.ablation.test_summaries import some_records


def test_the_table_says_lift_way_seeds_and_what_was_painted(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    text = markdown(plan, some_records(plan))
    assert text.startswith("# ab\n\nMean over seeds of 2 held-out products each")
    row = next(line for line in text.splitlines() if line.startswith("| ours "))
    assert "| ours | 2 | +60.0\u00a0% (" in row and "0.500 → 0.750" in row and row.endswith("| 80 | 1 |")
    assert row.split(" | ")[HEADINGS.index("lift, unseen categories")] == ""
    assert "| two | ours | 1 | \u221225.0 (\u221225.0 to \u221225.0) | 0: \u221225.0" in text
    assert "## " not in text


def test_a_table_of_some_cells_says_how_many_seeds_each_arm_has_and_which_arms_have_none(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    text = markdown(plan, some_records(plan)[:3])
    assert "| ours | 2 | " in text and "| chance | 1 of 2 | " in text
    assert "No seed is finished of: two, ours-of-3." in text
    selected = a_plan(tmp_path, only=["ours"], seeds=[1])
    assert "| ours | 1 of 2 | " in markdown(selected, some_records(plan)[1:2])


def test_each_world_has_a_table_of_its_own(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=WORLDS)
    text = markdown(plan, [record(cell, 0.03, 0.035) for cell in plan.cells])
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["## World 0", "## World 0 without a trap", "## World 1"]
    first, _, last = text.split("## ")[1:]
    assert "| ours |" in first and "| ours-w1 |" not in first and "| dpo-w1 | ours-w1 | 2 |" in last
    assert "Arms of different worlds do not compare." in text
    assert "ours has 1.00 (1.00 to 1.00) of the lift of bound, whose reward is the true CTR itself." in text


def test_the_table_names_the_reward_models_that_were_made_and_how_good_they_are(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, text=RECIPES)
    assert reward_rows(plan) == []
    first, *_ = plan.rewards
    first.folder.mkdir(parents=True)
    (first.folder / "metrics.json").write_text(json.dumps({"heldout_accuracy": 0.71, "heldout_pairs": 9, "ceiling": 0.9}))
    assert reward_rows(plan) == [["vam", "ours, best", "71.0\u00a0%", "90.0\u00a0%"]]
    assert "| vam | ours, best | 71.0\u00a0% | 90.0\u00a0% |" in markdown(plan, [])


def test_a_table_of_nothing_says_so(tmp_path: Path) -> None:
    assert "No cell is finished." in markdown(a_plan(tmp_path), [])
