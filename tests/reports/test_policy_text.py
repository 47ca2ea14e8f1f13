from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caig_rl.reports.policy_text import categories_line, prompt_rows
from caig_rl.reports.run_report import render_report
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.measured_again import MeasuredAgain, with_better_measurement
from caig_rl.runs.summary import CategoriesSummary, PromptsSummary, RunSummary, write_summary

GROUP = {
    "products": 14,
    "ctr": {"initial": 0.02, "final": 0.025, "lift": 0.25, "ci95": [0.11, 0.39]},
    "relevance": {"initial": 0.6, "final": 0.7},
}
CATEGORIES = {"seen": GROUP | {"products": 1, "relevance": None}, "unseen": GROUP}


def test_the_table_has_the_figures_of_both_policies(summary_values: Callable[..., dict[str, Any]]) -> None:
    rows = prompt_rows(RunSummary.model_validate(summary_values()).prompts)
    assert [(name, before.replace("\u00a0", " "), after.replace("\u00a0", " ")) for name, before, after in rows] == [
        ("Malformed prompts", "2.0 %", "5.0 %"),
        ("Prompts in the trap", "7.0 %", "6.0 %"),
        ("Distinct prompts", "98.0 %", "78.0 %"),
        ("Commonest background", "21.0 %", "30.0 %"),
        ("Variety of phrases", "2.41 bits", "1.90 bits"),
    ]


def test_without_a_world_there_is_no_row_for_its_trap(summary_values: Callable[..., dict[str, Any]]) -> None:
    prompts = summary_values()["prompts"]
    without = PromptsSummary.model_validate({end: values | {"trap": None} for end, values in prompts.items()})
    assert len(prompt_rows(without)) == 4 and not any("trap" in row[0] for row in prompt_rows(without))
    assert prompt_rows(None) == []


def test_the_line_gives_lift_and_relevance_of_unseen_and_seen_categories() -> None:
    line = categories_line(CategoriesSummary.model_validate(CATEGORIES)).replace("\u00a0", " ")
    assert line == (
        "Categories that training never saw (14 products): true CTR +25.0 % (95 % interval 11.0 % to 39.0 %),"
        " relevance 60.0 % before, 70.0 % after. "
        "Categories that training saw (1 product): true CTR +25.0 % (95 % interval 11.0 % to 39.0 %)."
    )
    assert categories_line(None) == ""


def test_the_report_shows_the_table_and_the_line_where_there_is_something_to_show(
    complete_run: RunFolder, run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]
) -> None:
    page = render_report(complete_run)
    assert "What the policy writes" in page and "1.90 bits" in page and "Trap" in page
    assert "that training never saw" not in page
    write_summary(RunSummary.model_validate(summary_values(prompts=None, categories=CATEGORIES)), run_folder)
    page = render_report(run_folder)
    assert "What the policy writes" not in page and "Categories that training never saw (14 products)" in page


SEGMENTS = [
    {"segment": "style <seekers>", "share": 0.35, "ctr": GROUP["ctr"]},
    {"segment": "gift givers", "share": 0.2, "ctr": GROUP["ctr"]},
]


def test_the_report_has_a_table_by_segment_where_shoppers_are_told_apart(
    complete_run: RunFolder, run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]
) -> None:
    assert "Who clicks" not in render_report(complete_run)
    write_summary(RunSummary.model_validate(summary_values(segments=SEGMENTS)), run_folder)
    page = render_report(run_folder).replace("\u00a0", " ")
    assert "Who clicks" in page
    for cell in ("style &lt;seekers&gt;", "35 %", "2.00 %", "2.50 %", "+25.0 % (95 % interval 11.0 % to 39.0 %)"):
        assert f">{cell}</td>" in page


def test_a_measurement_on_more_products_brings_its_own_table_by_segment(summary_values: Callable[..., dict[str, Any]]) -> None:
    own = RunSummary.model_validate(summary_values(segments=SEGMENTS[:1]))
    values = {"ctr": GROUP["ctr"], "relevance": GROUP["relevance"], "initial": {}, "final": {}, "prompts_per_product": 2}
    again = MeasuredAgain.model_validate(values | {"products": 200, "segments": SEGMENTS})
    assert len(with_better_measurement(own, again).segments) == 2 and len(with_better_measurement(own, None).segments) == 1
