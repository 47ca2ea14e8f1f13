"""What a round and a run say of the product-centric negatives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from actors.telemetry.round_totals import RoundTotals
from actors.telemetry.summary_builder import RunFacts, RunNumbers, build_summary, round_detail
from caig_rl.config.schema import Config
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import RoundDetail, StageTimes, SyncSummary, ThroughputSummary, TimeSummary
from caig_rl.types import PolicyVersion

METRICS = RoundMetrics(8, 2, 1.0, 0.6, 0.4, 0.5, 3.0, 0.0, 1.0, 1e-3, 0.1, pc_weight=0.4, reference_kl=1.5)
V1 = PolicyVersion(0, 1)


def _detail(metrics: RoundMetrics | None, **negatives: int) -> RoundDetail:
    return round_detail(0, RoundTotals([], [], [], negatives=Counter(negatives)), metrics, V1, 1.0)


def test_a_round_tells_the_negatives_drawn_the_weight_of_their_term_and_both_divergences() -> None:
    detail = _detail(METRICS, mask=5, hard=3)
    assert (detail.negatives, detail.pc_weight) == ({"mask": 5, "hard": 3}, 0.4)
    assert (detail.kl, detail.reference_kl) == (3.0, 1.5)


def test_negatives_that_the_objective_does_not_read_are_not_told() -> None:
    assert _detail(replace(METRICS, pc_weight=None), mask=5).negatives == {}
    assert _detail(None).negatives == {}


def test_the_summary_adds_the_rounds_up() -> None:
    stages = StageTimes(policy=0, render=0, score=0, learn=0, sync=0, idle=0)
    numbers = RunNumbers(
        status="running",
        rounds_done=2,
        version=V1,
        ledger=Ledger(),
        details=[_detail(METRICS, mask=5, hard=3), _detail(METRICS, mask=2), _detail(None)],
        before=None,
        after=None,
        time=TimeSummary(total_s=0, stages=stages),
        throughput=ThroughputSummary(pairs_per_s=0, images_per_s=0, tokens_per_s=0),
        sync=SyncSummary(count=0, verified=0),
        peak_memory_gib=0,
    )
    assert build_summary(Config(), RunFacts(), numbers).negatives == {"mask": 7, "hard": 3}
