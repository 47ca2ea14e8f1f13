"""What the report says in words: the headline, the warnings, and how numbers are written. Pure functions of the summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from caig_rl import wording
from caig_rl.runs.summary import CtrSummary, EvaluationSummary, RunSummary

_RELEVANCE_TOLERANCE = 0.02
_FEW_PRODUCTS = 30
_FEW_DISTINCT = 0.2
_MANY_FAILURES = 0.05


@dataclass(frozen=True, slots=True)
class Headline:
    """The answer on top of the page."""

    claim: str
    certainty: str
    """How sure the claim is; empty where there is nothing to say."""
    detail: str
    tone: Literal["good", "unclear", "bad"]

    @property
    def text(self) -> str:
        """Claim and certainty in one line."""
        return f"{self.claim} {self.certainty}".strip()


def percent(value: float, digits: int = 1) -> str:
    """A share as per cent: 0.1234 is "12.3 %"."""
    return f"{100.0 * value:.{digits}f}\u00a0%".replace("-", "\u2212")


def signed_percent(value: float, digits: int = 1) -> str:
    """A change as per cent, always with its sign."""
    return ("+" if value >= 0.0 else "") + percent(value, digits)


def duration(seconds: float) -> str:
    """Seconds as a person says them, with no line break between number and unit."""
    return re.sub(r"(?<=\d) (?=[a-z])", "\u00a0", wording.duration(seconds))


def headline(summary: RunSummary) -> Headline:
    """Whether true CTR rose, fell, or cannot be told: "rose" and "fell" only where the 95 % interval excludes zero."""
    if summary.ctr is None:
        unmeasured = _unmeasured(summary)
        return replace(unmeasured, detail=f"{unmeasured.detail} {_of_guard(summary)}".strip())
    ctr, interval = summary.ctr, summary.ctr.interval
    detail = f"{_detail(summary, ctr)} {_of_guard(summary)}".strip()
    if interval is None:
        return Headline(f"True CTR changed by {signed_percent(ctr.lift)}", "(too few products to say how sure that is)", detail, "unclear")
    span = f"(95\u00a0% interval {percent(interval.low)} to {percent(interval.high)})"
    if interval.low > 0.0:
        return Headline(f"True CTR rose by {percent(ctr.lift)}", span, detail, "good")
    if interval.high < 0.0:
        return Headline(f"True CTR fell by {percent(-ctr.lift)}", span, detail, "bad")
    if interval == (0.0, 0.0):
        return Headline("True CTR did not change at all", "", detail, "unclear")
    span = f"{span[:-1]}, which includes zero)"
    return Headline(f"No clear change in true CTR: {signed_percent(ctr.lift)} measured", span, detail, "unclear")


def warnings(summary: RunSummary) -> list[str]:
    """What a careful reader should know before trusting the headline, one sentence or two each."""
    return [*_evidence_warnings(summary), *_run_warnings(summary)]


def _unmeasured(summary: RunSummary) -> Headline:
    if summary.status == "failed":
        return Headline(f"This run failed after {wording.counted(summary.rounds, 'round')}", "", summary.failure or "", "bad")
    if summary.status != "done":
        state = "is still running" if summary.status == "running" else "was stopped early"
        return Headline(
            f"This run {state}: {wording.counted(summary.rounds, 'round')} done", "", "True CTR is measured at the end.", "unclear"
        )
    return Headline(
        "True CTR was not measured",
        "",
        "Nobody judged the clicks in this run. Below is what the reward model expects; only an A/B test on live traffic tells the truth.",
        "unclear",
    )


def _of_guard(summary: RunSummary) -> str:
    """What the guard did to the result; empty where it did nothing."""
    guard, result = summary.guard, summary.result
    if guard is None or not guard.turned:
        return ""
    stopped = f" and stopped the run after {wording.counted(summary.rounds, 'round')}" if guard.stopped else ""
    if result is None:
        return f"The guard turned{stopped}: it finds version {guard.best_version} best."
    if result.by == "guard":
        return f"The guard turned{stopped}: the result is version {result.version}, which it finds best."
    return f"The guard turned{stopped}, but the version that it finds best is lost: the result is the last one, {result.version}."


def _detail(summary: RunSummary, ctr: CtrSummary) -> str:
    views = f"From {percent(ctr.initial, 2)} to {percent(ctr.final, 2)} of views clicked"
    where = ""
    if summary.evaluation is not None:
        where = f", measured on {_products(summary.evaluation)}"
    room = ""
    if ctr.ceiling is not None and ctr.ceiling > ctr.initial and ctr.final > ctr.initial:
        way = (ctr.final - ctr.initial) / (ctr.ceiling - ctr.initial)
        room = f" That is {percent(way, 0)} of the way to the best known prompt for each product."
    return f"{views}{where}.{room}"


def _products(evaluation: EvaluationSummary) -> str:
    measured, held_out = evaluation.products, evaluation.products_held_out
    if not evaluation.held_out:
        return f"{measured} products, which training has seen too"
    if not held_out:
        return f"{measured} products that were never trained on"
    return f"{'all ' if measured == held_out else f'{measured} of '}{held_out} held-out products, none of which was trained on"


def _evidence_warnings(summary: RunSummary) -> Iterator[str]:
    if summary.reward.kind == "random":
        yield "This is a control experiment: the scores were random, so there was nothing to learn from."
    if summary.reward.kind == "world":
        yield "The simulated shoppers' true CTR was the reward: a bound for reward models. No real traffic tells it."
    if summary.evaluation is not None and summary.evaluation.products < _FEW_PRODUCTS:
        yield f"Only {summary.evaluation.products} products were measured. Intervals from so few are rough."
    if summary.evaluation is not None and not summary.evaluation.held_out:
        yield "No product was held out, so the lift says nothing about products that training has not seen (catalog.heldout_share)."
    if summary.evaluation is not None and summary.evaluation.left_out:
        yield f"{summary.evaluation.left_out} held-out products could not be measured, and are left out of both sides."
    relevance = summary.relevance
    if relevance is not None and relevance.final < relevance.initial - _RELEVANCE_TOLERANCE:
        fall = f"{100 * (relevance.initial - relevance.final):.1f}"
        yield f"Relevance fell by {fall} points: the new backgrounds suit their products less. Look at the pictures before using them."
    scores = [row.reward_score for row in summary.rounds_detail if row.reward_score is not None]
    interval = None if summary.ctr is None else summary.ctr.interval
    if interval is not None and interval.low <= 0.0 and len(scores) > 1 and scores[-1] > scores[0]:
        yield "The reward model's score rose while true CTR did not clearly rise: the policy may be pleasing the model, not the shoppers."
    distinct = summary.policy.distinct_prompts
    if distinct is not None and distinct < _FEW_DISTINCT:
        yield f"Only {percent(distinct, 0)} of the prompts differ from each other: the policy has become repetitive."


def _run_warnings(summary: RunSummary) -> Iterator[str]:
    failed, admitted = sum(summary.products.failed.values()), summary.products.admitted
    if admitted and failed / admitted > _MANY_FAILURES:
        yield f"{failed} of {admitted} admissions failed; the table of outcomes says why."
    if summary.sync.verified < summary.sync.count:
        missing = summary.sync.count - summary.sync.verified
        yield (
            f"{missing} of {summary.sync.count} weight hand-overs were not verified: they were cut short. No worker writes prompts before "
            "its weights are."
        )
