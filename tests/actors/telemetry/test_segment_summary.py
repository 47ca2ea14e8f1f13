"""The summary of a run whose shoppers are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from actors.telemetry.summary_builder import RunFacts, RunNumbers, _accuracy_on, build_summary
from caig_rl.config.schema import Config
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import RunSummary, StageTimes, SyncSummary, ThroughputSummary, TimeSummary
from caig_rl.types import PolicyVersion

STAGES = StageTimes(policy=0.0, render=0.0, score=0.0, learn=0.0, sync=0.0, idle=0.0)


def _policy(*ctrs: list[float], scores: list[float] | None = None) -> EvaluatedPolicy:
    """Two prompts for teens, two for adults, of each product."""
    told = np.array(ctrs)
    guessed = np.zeros_like(told) if scores is None else np.array([scores] * len(told))
    names = tuple("abc"[: len(told)])
    return EvaluatedPolicy(
        names, (("w", "x", "y", "z"),) * len(names), guessed, told, told * 0 + 0.5, shares={"teens": 0.75, "adults": 0.25}
    )


def _summary(before: EvaluatedPolicy, after: EvaluatedPolicy) -> RunSummary:
    numbers = RunNumbers(
        status="done",
        rounds_done=1,
        version=PolicyVersion(0, 1),
        ledger=Ledger(),
        details=(),
        before=MeasuredPolicy(before, {}),
        after=MeasuredPolicy(after, {}),
        time=TimeSummary(total_s=1.0, stages=STAGES),
        throughput=ThroughputSummary(pairs_per_s=0.0, images_per_s=0.0, tokens_per_s=0.0),
        sync=SyncSummary(count=0, verified=0),
        peak_memory_gib=0.0,
    )
    return build_summary(Config(), RunFacts(), numbers)


def test_the_summary_has_a_table_by_segment_and_one_figure_by_their_shares() -> None:
    before, after = _policy([0.02] * 4, [0.02] * 4), _policy([0.04, 0.04, 0.02, 0.02], [0.04, 0.04, 0.06, 0.02])
    summary = _summary(before, after)
    assert [(one.segment, one.share, one.ctr.lift) for one in summary.segments] == [
        ("teens", 0.75, pytest.approx(1.0)),
        ("adults", 0.25, pytest.approx(0.5)),
    ]
    assert summary.ctr is not None and summary.ctr.lift == pytest.approx(0.75 * 1.0 + 0.25 * 0.5)
    assert RunSummary.model_validate_json(summary.model_dump_json()) == summary


def test_the_reward_models_order_is_asked_for_inside_a_segment_alone() -> None:
    """Right for teens and for adults, and wrong between the two: those are clicks of different people."""
    assert _accuracy_on([_policy([0.01, 0.02, 0.03, 0.04], scores=[5.0, 6.0, 1.0, 2.0])]) == 1.0
