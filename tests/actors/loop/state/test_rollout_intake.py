"""What becomes of a shard's admissions: a pair, or an outcome of the kind that fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from actors.loop.state.preference_buffer import PreferenceBuffer
from actors.loop.state.rollout_intake import RolloutIntake, gate_counts
from actors.rollout.pool_member import WorkerLost
from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard, make_shards
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply
from caig_rl.learning.preference.negatives import NegativeSampler
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import CreativeCounts
from caig_rl.types import PolicyVersion, Product, RenderReport, Rollout, RolloutGroup

PRODUCTS = [Product(name, name, "mugs") for name in "abc"]
SHARD = make_shards(PRODUCTS, [1, 2, 3], 0, 0, shard_size=3)[0]
NEGATIVES = NegativeSampler(PRODUCTS)
V0 = PolicyVersion(0, 0)
CHANGED = RenderReport(usable=False, reason="product_changed", product_difference=7)
BLANK = RenderReport(usable=False, reason="blank")


def _opened(negatives: NegativeSampler = NEGATIVES) -> tuple[RolloutIntake, Ledger]:
    ledger = Ledger()
    buffer = PreferenceBuffer(3, 0, ledger, lambda pairs: None)
    intake = RolloutIntake(negatives, buffer, 0.0)
    buffer.admit(SHARD.admissions)
    intake.open_round(0)
    return intake, ledger


def rolled_out(shard: Shard, score: ScoreReply, refused: Mapping[int, str] = MappingProxyType({})) -> RolledOut:
    """A shard with two answers a product."""
    answers = tuple(Rollout(text, tuple(text.encode()), (-1.0,)) for text in "xy")
    groups = tuple(None if index in refused else RolloutGroup(one, V0, "write", answers) for index, one in enumerate(shard.admissions))
    reports = ((RenderReport(True), RenderReport(True)),) * len(groups)
    views: Any = "views"
    return RolledOut(shard, PolicyReply(groups, dict(refused), V0, 9), RenderReply(reports, 6, 0), score, views, views, 1)


def test_a_product_without_a_reward_or_with_a_bad_text_fails_by_its_own_kind_and_the_others_are_paired() -> None:
    intake, ledger = _opened()
    scores = ScoreReply(((math.nan, math.nan), (math.nan, math.nan), (1.0, 2.0)), {0: "the reward model gave no finite score"})
    assert intake.take_up(rolled_out(SHARD, scores, {1: "a control token"})) == 1
    assert ledger.counts()["failed"] == {"no_reward": 1, "bad_text": 1}
    assert [one.admission_id for one in ledger.open_admissions()] == [2]


def test_a_poisoned_shard_fails_whole_as_poison_where_it_cost_workers() -> None:
    intake, ledger = _opened()
    intake.drop_shard(SHARD, ShardPoisoned(SHARD, "render", 2, WorkerLost("renderer-0 died")))
    assert ledger.counts()["failed"] == {"poison": 3}
    assert intake.totals[0].first_failure.startswith("a (poison): shard 0-2 failed 2 times")


def test_the_gates_refusals_are_counted_by_reason_with_the_largest_change_of_a_product() -> None:
    counts = gate_counts(RenderReply(((RenderReport(True), CHANGED), (BLANK, BLANK)), images=4, truncated=0))
    assert counts == CreativeCounts(painted=4, refused={"product_changed": 1, "blank": 2}, product_difference=7)


def test_scores_of_both_models_are_kept_by_candidate_and_their_means_by_admission() -> None:
    intake, ledger = _opened()
    scores = ScoreReply(((1.0, 2.0), (1.0, 1.0), (3.0, math.nan)), {}, ((0.5, 0.0), (0.25, math.nan), (math.nan, math.nan)))
    assert intake.take_up(rolled_out(SHARD, scores)) == 1
    (pair,) = intake._buffer.ready()
    assert (pair.scores, pair.guard_scores) == ((1.0, 2.0), (0.5, 0.0))
    assert ledger.guarded_rounds(1) == {0: {"a": (1.5, 0.25), "b": (1.0, 0.25)}}
    assert ledger.to_table().column("score").to_pylist() == [1.5, 1.0, 3.0]


def test_without_a_guard_the_reward_models_means_are_kept_alone() -> None:
    intake, ledger = _opened()
    intake.take_up(rolled_out(SHARD, ScoreReply(((1.0, 2.0), (1.0, 1.0), (3.0, 4.0)))))
    assert intake._buffer.ready()[0].guard_scores == ()
    assert ledger.guarded_rounds(1) == {0: {}} and ledger.to_table().column("score").to_pylist() == [1.5, 1.0, 3.5]


def test_the_negatives_of_pairs_are_counted_as_they_were_drawn() -> None:
    """Of the products of one category, a picture is taken where titles share no word; where there is none to take, it is masked."""
    scores = ScoreReply(((math.nan, math.nan), (1.0, 2.0), (1.0, 2.0)), {0: "the reward model gave no finite score"})
    alike = [Product(name, "mug", "mugs") for name in "abc"]
    for products, counted in ((PRODUCTS, {"picture": 2}), (alike, {"mask": 2})):
        intake, _ = _opened(NegativeSampler(products, {"picture": 1.0}))
        shard = make_shards(products, [1, 2, 3], 0, 0, shard_size=3)[0]
        intake.take_up(rolled_out(shard, scores))
        assert intake.totals[0].negatives == counted
