from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from caig_rl.ablation.records import Measured, facts_of_run, finished_cells, make_record, read_record, write_record, write_rows
from caig_rl.errors import UserError
from caig_rl.evaluation.segment_comparison import written_for_each
from caig_rl.runs.folder import RunFolder
from caig_rl.types import PromptCheck
from tests.ablation.made_up import a_plan, leave_files, policy, record
from tests.finished_run import write_made_up_run


def test_a_record_has_the_figures_worked_out_by_hand(tmp_path: Path) -> None:
    row = record(a_plan(tmp_path).cells[1], 0.03, 0.03, 0.02, 0.04).row
    assert (row.ctr_initial, row.ctr_final, row.lift, row.ceiling, row.way) == pytest.approx((0.02, 0.03, 0.5, 0.04, 0.5))
    assert (row.relevance_initial, row.relevance_final, row.painted, row.rounds, row.kl) == (0.5, 0.75, 80, 2, 1.5)
    assert row.painted_to_half == pytest.approx(20.0)  # +25 % is midway between 0 and the +50 % at 40 creatives


def test_a_record_is_read_back_and_a_cell_without_one_is_not_finished(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    cell = plan.cells[1]
    assert finished_cells(plan) == {}
    leave_files(plan, cell)
    made = record(cell, 0.03, 0.05)
    write_record(plan.cell_folder(cell.name), made)
    assert finished_cells(plan) == {"ours-seed0": made}
    assert write_rows(plan.folder, [made, made]).endswith("cells.jsonl")
    assert plan.folder.read_text("cells.jsonl").count("\n") == 2


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "cell")
    folder.write_text("cell.json", '{"row": {}}')
    with pytest.raises(UserError, match=r"cell\.json is damaged"):
        read_record(folder)


def test_a_run_tells_its_divergence_its_rounds_and_its_curve(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    write_made_up_run(folder)
    facts = facts_of_run(folder)
    assert (facts["kl"], facts["rounds"], facts["curve"], facts["painted"], facts["simulated"]) == (3.2, 6, (), 0, True)
    folder.append_metrics({"round": 6, "ctr": 0.03})
    assert facts_of_run(folder)["curve"] == ((0, 0.03),)


def test_prompts_and_unseen_categories_are_in_the_record_where_they_are_known(tmp_path: Path) -> None:
    cell = a_plan(tmp_path).cells[1]
    sound, lost = PromptCheck(False, False, ("oak",)), PromptCheck(True, True, ("neon",))
    before = replace(policy(0.02, 0.02), checks=((sound,), (lost,)), unseen=(True, False))
    after = replace(policy(0.03, 0.02), checks=((sound,), (sound,)), unseen=(True, False))
    row = make_record(cell, Measured(before, after, {}), 1.0).row
    assert (row.malformed_initial, row.malformed, row.trap_initial, row.trap) == (0.5, 0.0, 0.5, 0.0)
    assert (row.lift_unseen, row.ceiling, row.way) == (pytest.approx(0.5), None, None)


def test_a_cell_with_segments_counts_each_by_its_share_product_by_product(tmp_path: Path) -> None:
    cell, shares = a_plan(tmp_path).cells[1], {"teens": 0.75, "adults": 0.25}
    before, after = (
        written_for_each([policy(*teens), policy(*adults)], shares)
        for teens, adults in (((0.02, 0.02), (0.02, 0.02)), ((0.04, 0.02), (0.02, 0.06)))
    )
    made = make_record(cell, Measured(before, after, {}), 60.0)
    assert made.ctr_final == pytest.approx((0.035, 0.03)) and made.row.ctr_final == pytest.approx(0.0325)
    assert made.row.prompts_per_product == 1
