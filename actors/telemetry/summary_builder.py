"""Builds the run's summary and the rows of its rounds. Plain functions of finished numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from actors.telemetry.round_totals import RoundTotals
from caig_rl.config.schema import Config
from caig_rl.evaluation.category_comparison import compare_by_category
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy, compare_on_shared_products, mean_ceiling
from caig_rl.evaluation.segment_comparison import compare_by_segment
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.result import GuardSummary, ResultSummary
from caig_rl.runs.summary import (
    CreativeCounts,
    EvaluationSummary,
    FleetSummary,
    PolicySummary,
    ProductCounts,
    RewardSummary,
    RoundDetail,
    RunSummary,
    SegmentSummary,
    SurvivedSummary,
    SyncSummary,
    ThroughputSummary,
    TimeSummary,
)
from caig_rl.statistics import distinct_share, pairwise_accuracy
from caig_rl.types import PolicyVersion


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the caller knows of a run beforehand and the loop cannot: it goes into the summary as it is."""

    catalog: str = "products of the click world"
    """Where the products came from."""
    held_out: bool = True
    """True where no product of the evaluation is trained on."""
    products_held_out: int | None = None
    """All that are held out, also beyond `evaluation.products`; None: not known."""
    simulated: bool = True
    """True where shoppers are simulated."""
    reward_accuracy: float | None = None
    """Held-out pairwise accuracy of the reward model; None: measured on the evaluation's creatives."""
    reward_ceiling: float | None = None


def round_detail(
    number: int,
    totals: RoundTotals,
    metrics: RoundMetrics | None,
    version: PolicyVersion,
    seconds: float,
    prompt_model: Mapping[str, float] | None = None,
    guard_score: float | None = None,
) -> RoundDetail:
    """One row of `metrics.jsonl`, with the guard's mean. Without a pair nothing was trained, and the learner's numbers are null."""
    scores = [score for score in totals.scores if np.isfinite(score)]
    return RoundDetail.model_validate(
        {
            "round": number,
            "reward_score": float(np.mean(scores)) if scores else None,
            "guard_score": guard_score,
            "relevance": _mean([judgement.relevance for judgement in totals.judgements]),
            "ctr": _mean([judgement.ctr for judgement in totals.judgements]),
            "distinct_prompts": distinct_share(totals.prompts) if totals.prompts else None,
            "tied": totals.tied,
            "failed": totals.failed,
            "truncated_prompts": totals.truncated,
            "malformed_share": totals.checks.malformed_share,
            "trap_share": totals.checks.trap_share,
            "creatives": totals.creatives,
            "policy_version": str(version),
            "seconds": seconds,
            "prompt_model": dict(prompt_model) if prompt_model else None,
            **_learned(metrics, totals),
        }
    )


def _learned(metrics: RoundMetrics | None, totals: RoundTotals) -> dict[str, object]:
    """The learner's part of a round's row."""
    if metrics is None:
        return {"pairs": 0, "replayed": 0, "loss": None, "kl": None}
    return {
        "pairs": metrics.rows - metrics.replayed,
        "replayed": metrics.replayed,
        "loss": metrics.loss,
        "kl": metrics.kl,
        "dpo_loss": metrics.dpo_loss,
        "product_centric_loss": metrics.product_centric_loss,
        "implicit_accuracy": metrics.accuracy,
        "logprob_gap": metrics.logprob_gap,
        "grad_norm": metrics.grad_norm,
        "lr": metrics.lr,
        "optimiser_steps": metrics.steps,
        "kl_weight": metrics.kl_weight,
        "fluent_share": metrics.fluent,
        "reference_kl": metrics.reference_kl,
        "pc_weight": metrics.pc_weight,
        # Drawn for every objective, so that a run may change to one that reads them.
        "negatives": {} if metrics.pc_weight is None else dict(totals.negatives),
    }


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """Everything the summary is made of."""

    status: str
    rounds_done: int
    version: PolicyVersion
    ledger: Ledger
    details: Sequence[RoundDetail]
    before: MeasuredPolicy | None
    after: MeasuredPolicy | None
    time: TimeSummary
    throughput: ThroughputSummary
    sync: SyncSummary
    peak_memory_gib: float
    sha256: str | None = None
    """Hash of the weights that are live."""
    failure: str | None = None
    fleet: FleetSummary | None = None
    survived: SurvivedSummary | None = None
    ctr_ceilings: Mapping[str, float] = field(default_factory=dict)
    """True CTR of the best prompt for each of the evaluation's products, by product id, where it is known."""
    result: ResultSummary | None = None
    """Which version `after` is of."""
    guard: GuardSummary | None = None
    """What the guard says of the rounds done."""


def build_summary(config: Config, facts: RunFacts, numbers: RunNumbers) -> RunSummary:
    """`summary.json`, during the run (without final numbers) and at its end."""
    comparison, categories = None, None
    segments: tuple[SegmentSummary, ...] = ()
    shared = () if numbers.before is None else numbers.before.evaluated.product_ids
    if numbers.before is not None and numbers.after is not None:
        measured = set(numbers.after.evaluated.product_ids)
        shared = tuple(name for name in shared if name in measured)
        if shared:
            ends = numbers.before.evaluated, numbers.after.evaluated
            comparison = compare_on_shared_products(*ends, config.evaluation.bootstrap, config.run.seed)
            categories = compare_by_category(*ends, numbers.ctr_ceilings, config.evaluation.bootstrap, config.run.seed)
            segments = compare_by_segment(*ends, config.evaluation.bootstrap, config.run.seed)
    last = numbers.details[-1].distinct_prompts if numbers.details else None
    distinct = last if comparison is None else comparison.distinct_final
    return RunSummary.model_validate(
        {
            "run": config.run.name,
            "status": numbers.status,
            "failure": numbers.failure,
            "objective": config.objective,
            "catalog": facts.catalog,
            "simulated": facts.simulated,
            "seed": config.run.seed,
            "rounds": numbers.rounds_done,
            "policy_version": str(numbers.version) if numbers.result is None else numbers.result.version,
            "result": numbers.result,
            "guard": numbers.guard,
            "products": ProductCounts.model_validate(numbers.ledger.counts()),
            "creatives": reduce(CreativeCounts.plus, (detail.creatives for detail in numbers.details), CreativeCounts()),
            "negatives": dict(sum((Counter(detail.negatives) for detail in numbers.details), Counter())),
            "ctr": None if comparison is None else comparison.ctr_summary(mean_ceiling(numbers.ctr_ceilings, shared)),
            "relevance": None if comparison is None else comparison.relevance_summary(),
            "reward": _reward(config, facts, numbers),
            "policy": _policy(numbers, distinct),
            "throughput": numbers.throughput,
            "time": numbers.time,
            "sync": numbers.sync,
            "peak_memory_gib": numbers.peak_memory_gib,
            "evaluation": None if numbers.before is None else _evaluation(config, facts, _num_asked(numbers), len(shared)),
            "prompts": None if comparison is None else comparison.prompts_summary(),
            "categories": categories,
            "segments": segments,
            "fleet": numbers.fleet,
            "survived": numbers.survived,
            "rounds_detail": tuple(numbers.details),
        }
    )


def _evaluation(config: Config, facts: RunFacts, asked: int, measured: int) -> EvaluationSummary:
    return EvaluationSummary(
        products=measured,
        left_out=asked - measured,
        prompts_per_product=config.evaluation.prompts_per_product,
        held_out=facts.held_out,
        products_held_out=facts.products_held_out,
    )


def _num_asked(numbers: RunNumbers) -> int:
    """Held-out products that the evaluation asked for."""
    return max(
        (len(one.evaluated.product_ids) + len(one.left_out) for one in (numbers.before, numbers.after) if one is not None), default=0
    )


def _reward(config: Config, facts: RunFacts, numbers: RunNumbers) -> RewardSummary:
    accuracy = facts.reward_accuracy
    measured_here = accuracy is None and config.reward.kind == "model"
    if measured_here:
        accuracy = _accuracy_on([measured.evaluated for measured in (numbers.before, numbers.after) if measured is not None])
    return RewardSummary(
        heldout_accuracy=accuracy,
        ceiling=facts.reward_ceiling,
        measured_here=measured_here and accuracy is not None,
        kind=config.reward.kind,
    )


def _accuracy_on(policies: Sequence[EvaluatedPolicy]) -> float | None:
    """Share of same-product creatives of the evaluation that the reward model puts in the order of their true CTRs."""
    scores, ctrs, groups = [], [], []
    for policy in policies:
        if policy.ctrs is None:
            return None
        scores.append(policy.scores.ravel())
        ctrs.append(policy.ctrs.ravel())
        # Creatives for different shoppers are not compared: their CTRs are of different people.
        shown_to = [name for name in policy.shares or ("",) for _ in range(policy.num_prompts)]
        groups += [f"{product}\n{segment}" for product in policy.product_ids for segment in shown_to]
    if not scores:
        return None
    flat, order, labels = np.concatenate(ctrs), np.concatenate(scores), np.asarray(groups)
    if all(len(set(flat[labels == label])) < 2 for label in set(groups)):
        return None
    return pairwise_accuracy(order, flat, labels)


def _policy(numbers: RunNumbers, distinct: float | None) -> PolicySummary:
    measured = None if numbers.after is None else numbers.after.evaluated.kl()
    kl, interval = (_last_kl(numbers.details), None) if measured is None else measured
    return PolicySummary(kl=kl, kl_ci95=interval, distinct_prompts=distinct, sha256=numbers.sha256)


def _last_kl(details: Sequence[RoundDetail]) -> float | None:
    measured = [detail.kl for detail in details if detail.kl is not None]
    return measured[-1] if measured else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
