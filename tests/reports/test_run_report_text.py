from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caig_rl.reports.run_report_text import duration, headline, percent, signed_percent, warnings
from caig_rl.runs.summary import RunSummary
from caig_rl.statistics import lift
from tests.finished_run import RESULT_OF_GUARD, TURNED_GUARD

Values = Callable[..., dict[str, Any]]


def ctr(final: float, ci95: tuple[float, float] | None) -> dict[str, object]:
    return {"initial": 0.02, "final": final, "lift": lift(0.02, final), "ci95": ci95, "ceiling": 0.04}


@pytest.mark.parametrize(
    ("final", "ci95", "text", "tone"),
    [
        (0.025, (0.17, 0.33), "True CTR rose by 25.0 % (95 % interval 17.0 % to 33.0 %)", "good"),
        (0.018, (-0.17, -0.03), "True CTR fell by 10.0 % (95 % interval −17.0 % to −3.0 %)", "bad"),
        (
            0.021,
            (-0.02, 0.12),
            "No clear change in true CTR: +5.0 % measured (95 % interval −2.0 % to 12.0 %, which includes zero)",
            "unclear",
        ),
        (0.025, None, "True CTR changed by +25.0 % (too few products to say how sure that is)", "unclear"),
        (0.02, (0.0, 0.0), "True CTR did not change at all", "unclear"),
    ],
)
def test_the_headline_claims_no_more_than_the_interval_allows(
    final: float, ci95: tuple[float, float] | None, text: str, tone: str, summary_values: Values
) -> None:
    found = headline(RunSummary.model_validate(summary_values(ctr=ctr(final, ci95))))
    assert (found.text.replace("\u00a0", " "), found.tone) == (text, tone)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("done", "True CTR was not measured"),
        ("running", "This run is still running: 6 rounds done"),
        ("stopped", "This run was stopped early: 6 rounds done"),
    ],
)
def test_without_a_measured_rate_the_headline_claims_nothing(status: str, text: str, summary_values: Values) -> None:
    assert headline(RunSummary.model_validate(summary_values(ctr=None, status=status))).text == text


def test_a_failed_run_says_what_ended_it(summary_values: Values) -> None:
    found = headline(RunSummary.model_validate(summary_values(ctr=None, status="failed", failure="PoolError: no room")))
    assert (found.text, found.detail, found.tone) == ("This run failed after 6 rounds", "PoolError: no room", "bad")


def test_the_detail_says_on_what_and_how_far_to_the_ceiling(summary_values: Values) -> None:
    detail = headline(RunSummary.model_validate(summary_values(ctr=ctr(0.025, (0.1, 0.4))))).detail.replace("\u00a0", " ")
    assert detail == (
        "From 2.00 % to 2.50 % of views clicked, measured on 96 products that were never trained on."
        " That is 25 % of the way to the best known prompt for each product."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"held_out": True, "products_held_out": 103}, "48 of 103 held-out products, none of which was trained on."),
        ({"held_out": True, "products_held_out": 48}, "all 48 held-out products, none of which was trained on."),
        ({"held_out": False, "products_held_out": 0}, "48 products, which training has seen too."),
    ],
)
def test_the_detail_says_how_many_products_were_held_out(changes: dict[str, Any], words: str, summary_values: Values) -> None:
    evaluation = {"products": 48, "prompts_per_product": 2, **changes}
    assert f"measured on {words}" in headline(RunSummary.model_validate(summary_values(evaluation=evaluation))).detail


def test_a_clean_run_has_no_warnings(summary_values: Values) -> None:
    products = {"admitted": 6, "trained": 6, "failed": {}, "expired": 0, "tied": 0, "rejected": {}}
    assert warnings(RunSummary.model_validate(summary_values(products=products))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward": {"heldout_accuracy": 0.5, "ceiling": 0.8, "kind": "random"}}, "scores were random"),
        ({"evaluation": {"products": 8, "prompts_per_product": 2, "held_out": True}}, "Only 8 products"),
        ({"evaluation": {"products": 40, "left_out": 3, "prompts_per_product": 2, "held_out": True}}, "3 held-out products could not be"),
        ({"evaluation": {"products": 40, "prompts_per_product": 2, "held_out": False}}, "No product was held out"),
        ({"relevance": {"initial": 0.60, "final": 0.55}}, "fell by 5.0 points"),
        ({"policy": {"kl": 9.0, "distinct_prompts": 0.1}}, "repetitive"),
        ({"sync": {"count": 6, "verified": 4}}, "2 of 6 weight hand-overs"),
        ({}, "2 of 10 admissions failed"),
        (
            {"ctr": ctr(0.021, (-0.02, 0.12)), "rounds_detail": [{"round": 0, "reward_score": -4.0}, {"round": 1, "reward_score": -3.0}]},
            "pleasing the model, not the shoppers",
        ),
    ],
)
def test_what_weakens_the_headline_is_said_beside_it(changes: dict[str, Any], words: str, summary_values: Values) -> None:
    assert any(words in warning for warning in warnings(RunSummary.model_validate(summary_values(**changes))))


@pytest.mark.parametrize(
    ("result", "stopped", "words"),
    [
        (RESULT_OF_GUARD, True, "The guard turned and stopped the run after 6 rounds: the result is version 0.4, which it finds best."),
        (RESULT_OF_GUARD, False, "The guard turned: the result is version 0.4, which it finds best."),
        (
            RESULT_OF_GUARD | {"by": "fallback", "version": "0.6"},
            False,
            "The guard turned, but the version that it finds best is lost: the result is the last one, 0.6.",
        ),
        (None, True, "The guard turned and stopped the run after 6 rounds: it finds version 4 best."),
    ],
)
def test_the_headline_says_what_a_guard_that_turned_did_to_the_result(
    result: dict[str, Any] | None, stopped: bool, words: str, summary_values: Values
) -> None:
    guard = TURNED_GUARD | {"stopped": stopped}
    found = headline(RunSummary.model_validate(summary_values(result=result, guard=guard)))
    assert found.detail.endswith(f" {words}") and found.detail.startswith("From 2.00")
    unmeasured = headline(RunSummary.model_validate(summary_values(ctr=None, status="running", result=result, guard=guard)))
    assert unmeasured.detail == f"True CTR is measured at the end. {words}"


def test_a_guard_that_has_not_turned_is_not_in_the_headline(summary_values: Values) -> None:
    quiet = summary_values(guard=TURNED_GUARD | {"turned": False, "stopped": False})
    assert headline(RunSummary.model_validate(quiet)) == headline(RunSummary.model_validate(summary_values()))


def test_numbers_are_written_for_people() -> None:
    assert (percent(0.1234), signed_percent(-0.05), signed_percent(0.05)) == ("12.3\u00a0%", "\u22125.0\u00a0%", "+5.0\u00a0%")
    assert [duration(value).replace("\u00a0", " ") for value in (1.23, 45, 725, 12000)] == ["1.2 s", "45 s", "12 min 5 s", "3 h 20 min"]


def test_a_run_rewarded_by_the_true_ctr_says_that_it_is_a_bound(summary_values: Values) -> None:
    values = summary_values()
    for kind, is_said in (("world", True), ("model", False)):
        found = RunSummary.model_validate({**values, "reward": {**values["reward"], "kind": kind}})
        assert any("true CTR was the reward: a bound" in line for line in warnings(found)) == is_said
