from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from caig_rl.errors import UserError
from caig_rl.reports.run_report import write_report
from caig_rl.reports.run_report_view import curves, facts, outcome_rows, stage_shares
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.result import GuardSummary
from caig_rl.runs.summary import RunSummary, TimeSummary, read_summary, write_summary
from tests.finished_run import RESULT_OF_GUARD, TURNED_GUARD

VOID = {"meta", "img", "br", "path", "use", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what a page refers to and its visible text, and checks that its tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\u00a0", " ")


def page_of(folder: RunFolder) -> Page:
    address = write_report(folder)
    assert address == folder.path("report.html")
    return Page(folder.read_text("report.html"))


def test_the_page_needs_no_network_and_no_script(complete_run: RunFolder) -> None:
    page = page_of(complete_run)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert page.addresses and all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", complete_run.read_text("report.html"))


def test_the_page_tells_the_whole_story(complete_run: RunFolder) -> None:
    words = page_of(complete_run).words
    for expected in (
        "True CTR rose by 25.0 %",
        "(95 % interval 17.0 % to 33.0 %)",
        "Clicks are simulated.",
        "True CTR rose on 3 of the 4 products shown.",
        "a warm oak table by a window",
        "reward model 71.0 %",
        "ceiling 81.0 %",
        "Painting pictures53 %",
        "products.csv row 12: images/sofa.png is not there",
        "p7, round 2: the renderer ran out of memory",
        "lr: 0.001",
        "What the words mean",
    ):
        assert expected in words, expected


def test_what_came_from_a_catalog_is_shown_as_text(complete_run: RunFolder) -> None:
    assert "Porcelain tea pot <b>Mei</b>" in page_of(complete_run).words
    assert "<b>Mei</b>" not in complete_run.read_text("report.html")


def test_real_traffic_has_no_banner(run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]) -> None:
    write_summary(RunSummary.model_validate(summary_values(simulated=False)), run_folder)
    assert "simulated" not in page_of(run_folder).words


def test_a_run_with_a_summary_alone_says_what_is_not_there(run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]) -> None:
    nothing = {"heldout_accuracy": None, "ceiling": None}
    stages = dict.fromkeys(("policy", "render", "score", "learn", "sync", "idle"), 0.0)
    values = summary_values(ctr=None, relevance=None, reward=nothing, evaluation=None, time={"total_s": 0.0, "stages": stages})
    write_summary(RunSummary.model_validate(values), run_folder)
    words = page_of(run_folder).words
    for expected in (
        "True CTR was not measured",
        "saved no gallery",
        "no curves yet",
        "Not measured",
        "No stage has been timed",
        "no config.yaml",
    ):
        assert expected in words, expected


def test_a_folder_without_a_summary_gets_no_report(run_folder: RunFolder) -> None:
    with pytest.raises(UserError, match=r"summary\.json is missing"):
        write_report(run_folder)


def test_a_round_that_was_done_again_counts_once() -> None:
    rows = [{"round": 0, "loss": 3.0}, {"round": 1, "loss": 2.0}, {"round": 1, "loss": 1.5}]
    (curve,) = curves(rows)
    assert curve.spoken == "Loss: 3 in round 1, 1.5 in round 2"


def test_a_quantity_that_was_never_measured_has_no_curve() -> None:
    assert [curve.title for curve in curves([{"round": 0, "loss": None, "kl": 0.1}])] == ["KL to the initial policy"]


def test_stage_shares_are_of_the_counted_seconds() -> None:
    stages = {"policy": 10, "render": 60, "score": 10, "learn": 10, "sync": 0, "idle": 10}
    shares = stage_shares(TimeSummary.model_validate({"total_s": 400, "stages": stages}))
    assert [stage.share for stage in shares] == [0.1, 0.6, 0.1, 0.1, 0.0, 0.1]


def test_an_accuracy_that_the_run_measured_itself_is_not_said_to_be_on_unseen_products(
    summary_values: Callable[..., dict[str, Any]], complete_run: RunFolder
) -> None:
    assert "that it has never seen" in page_of(complete_run).words
    values = summary_values()
    values["reward"] |= {"measured_here": True}
    write_summary(RunSummary.model_validate(values), complete_run)
    words = page_of(complete_run).words
    assert "higher true CTR in 71.0 % of cases" in words and "that it has never seen" not in words


def test_outcomes_list_every_kind_with_examples(summary_values: Callable[..., dict[str, Any]], made_up_ledger: Ledger) -> None:
    rows = outcome_rows(RunSummary.model_validate(summary_values()), made_up_ledger.to_table().to_pylist())
    assert [(row.label, row.count) for row in rows] == [
        ("Trained", 6),
        ("Tied", 2),
        ("Expired", 0),
        ("Failed: unusable", 1),
        ("Failed: render error", 1),
        ("Rejected: image missing", 1),
    ]
    assert rows[4].examples == ("p7, round 2: the renderer ran out of memory",)


def test_that_nothing_failed_is_said(summary_values: Callable[..., dict[str, Any]]) -> None:
    values = summary_values()
    values["products"] |= {"failed": {}, "trained": values["products"]["trained"] + sum(values["products"]["failed"].values())}
    rows = outcome_rows(RunSummary.model_validate(values), [])
    assert ("Failed", 0) in [(row.label, row.count) for row in rows]


def test_what_happened_to_the_workers_is_among_the_figures(summary_values: Callable[..., dict[str, Any]]) -> None:
    steps = [{"at_s": 60.0 * number, "pool": "renderer", "before": 1, "after": 2, "reason": "a queue"} for number in range(14)]
    fleet = {
        "replaced": {"policy": 2, "renderer": 0},
        "stuck": {"policy": 1, "renderer": 0},
        "scaling": steps,
        "learner_restarts": 1,
        "replayed": [{"incarnation": 1, "round": 4, "pairs": 60}],
    }
    found = dict(facts(RunSummary.model_validate(summary_values(fleet=fleet))))
    assert found["Workers replaced"] == "2 policy"
    assert found["Learner re-formed"] == "1 times, 1 rounds trained again"
    assert found["Pool sizes changed"] == "14 times; the last 12 follow"
    assert found["Renderer pool at 13\u00a0min 0\u00a0s"] == "1 to 2 workers: a queue"


def test_what_the_gate_refused_is_among_the_figures(summary_values: Callable[..., dict[str, Any]]) -> None:
    creatives = {"painted": 320, "refused": {"product_extended": 3}, "product_difference": 0}
    found = dict(facts(RunSummary.model_validate(summary_values(creatives=creatives))))
    assert found["Creatives painted"] == "320, 3 refused (product extended)"
    assert found["Product pixels changed by at most"] == "0 grey levels"


def test_the_result_its_kl_and_the_guard_are_among_the_figures(summary_values: Callable[..., dict[str, Any]]) -> None:
    policy = {"kl": 3.25, "kl_ci95": (2.5, 4.0), "distinct_prompts": 0.78}
    values = summary_values(result=RESULT_OF_GUARD, guard=TURNED_GUARD, policy=policy)
    found = dict(facts(RunSummary.model_validate(values)))
    assert found["The result"] == "version 0.4, the guard's best version: its mean fell"
    assert found["Its policy"] == "checkpoints/4/policy"
    assert found["Guard's score at best and in the newest round"] == "+0.310 (version 4), \u22120.120 (version 5)"
    assert found["KL to the initial policy"] == "3.250 nats an answer (95\u00a0% interval 2.500 to 4.000 over products)"
    plain = dict(facts(RunSummary.model_validate(summary_values())))
    assert "The result" not in plain and plain["KL to the initial policy"] == "3.200 nats an answer"


def test_the_guard_has_a_curve_beside_the_rewards_and_a_word_of_explanation(complete_run: RunFolder) -> None:
    assert "Guard's score" not in page_of(complete_run).words
    summary = read_summary(complete_run)
    guarded = summary.model_copy(update={"guard": GuardSummary.model_validate(TURNED_GUARD)})
    write_summary(guarded, complete_run)
    for number in range(6):
        complete_run.append_metrics({"round": number, "guard_score": 0.1 * number})
    page = page_of(complete_run)
    assert page.words.index("Reward score") < page.words.index("Guard's score") < page.words.index("KL to the initial policy")
    assert "A second reward model, trained on other clicks" in page.words


def test_the_negatives_are_told_by_kind_where_any_were_drawn(summary_values: Callable[..., dict[str, Any]]) -> None:
    drawn = RunSummary.model_validate(summary_values(negatives={"mismatch": 118, "mask": 120}))
    assert ("Product-centric negatives", "120 mask, 118 mismatch") in facts(drawn)
    assert "Product-centric negatives" not in dict(facts(RunSummary.model_validate(summary_values())))
