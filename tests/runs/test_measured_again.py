"""A finished run measured again on more products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caig_rl.errors import UserError
from caig_rl.reports.run_report import render_report
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.measured_again import EVALUATION_FILE, MeasuredAgain, read_measured_again, with_better_measurement
from caig_rl.runs.summary import RunSummary
from tests.finished_run import RESULT_OF_GUARD


def measured(products: int, rounds: int | None = None) -> MeasuredAgain:
    ctr = {"initial": 0.02, "final": 0.025, "lift": 0.25, "ci95": [0.11, 0.39], "ceiling": 0.04}
    values = {"rounds": rounds, "products": products, "prompts_per_product": 2, "ctr": ctr, "relevance": {"initial": 0.6, "final": 0.7}}
    return MeasuredAgain.model_validate(values | {"initial": {}, "final": {}})


def test_the_measurement_on_more_products_is_the_headline_and_the_runs_own_stays_in_words(complete_run: RunFolder) -> None:
    assert "The run itself measured fewer products" not in render_report(complete_run)
    complete_run.write_text(EVALUATION_FILE, measured(960).model_dump_json())
    page = render_report(complete_run)
    assert "measured on 960 products" in page
    assert "11.0\u00a0% to 39.0\u00a0%" in page
    assert "The run itself measured fewer products: True CTR rose by 25.0\u00a0% (95\u00a0% interval 17.0" in page


def test_a_measurement_on_fewer_products_changes_nothing(summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values())
    assert with_better_measurement(summary, measured(1)) is summary
    assert with_better_measurement(summary, None) is summary


def test_a_measurement_of_a_policy_that_the_run_went_on_from_changes_nothing(summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values(rounds=6))
    assert with_better_measurement(summary, measured(960, rounds=3)) is summary
    assert with_better_measurement(summary, measured(960, rounds=6)).evaluation != summary.evaluation


def test_a_measurement_is_of_the_runs_result_not_of_its_last_version(summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values(rounds=6, result=RESULT_OF_GUARD))
    assert with_better_measurement(summary, measured(960, rounds=6)) is summary
    assert with_better_measurement(summary, measured(960, rounds=4)).evaluation != summary.evaluation


@pytest.mark.parametrize(("count", "held_out"), [(None, True), (0, False), (1000, True)])
def test_a_second_measurement_says_for_itself_whether_its_products_were_held_out(
    count: int | None, held_out: bool, summary_values: Callable[..., dict[str, Any]]
) -> None:
    summary = RunSummary.model_validate(summary_values())
    again = measured(960).model_copy(update={"products_held_out": count})
    evaluation = with_better_measurement(summary, again).evaluation
    assert evaluation is not None and (evaluation.held_out, evaluation.products_held_out) == (held_out, count)


def test_a_measurement_of_before_prompts_were_checked_leaves_the_runs_own_table(summary_values: Callable[..., dict[str, Any]]) -> None:
    summary = RunSummary.model_validate(summary_values())
    assert with_better_measurement(summary, measured(960)).prompts == summary.prompts is not None


def test_a_damaged_measurement_is_named(run_folder: RunFolder) -> None:
    run_folder.write_text(EVALUATION_FILE, "{")
    with pytest.raises(UserError, match=r"evaluation\.json is damaged"):
        read_measured_again(run_folder)
