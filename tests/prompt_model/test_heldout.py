"""The held-out score, and when it says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from caig_rl.prompt_model.heldout import MIN_HELD_OUT_REWARDS, ROUNDS_COUNTED, HeldOutRecord, held_out_score


def test_perfect_order_inside_products_is_one_whatever_their_levels() -> None:
    products = np.repeat(np.arange(5), 4)
    rewards = np.random.default_rng(0).normal(size=20)
    score = held_out_score(rewards * 3.0 + products * 7.0, rewards - products * 5.0, products)
    assert (score.pearson, score.spearman) == pytest.approx((1.0, 1.0))
    assert score.num_rewards == 20


def test_pearson_and_spearman_are_those_written_by_hand() -> None:
    score = held_out_score(np.array([0.0, 1.0, 2.0]), np.array([0.0, 10.0, 1.0]), np.zeros(3, np.int64))
    assert score.pearson == pytest.approx(np.corrcoef([0, 1, 2], [0, 10, 1])[0, 1])
    assert score.spearman == pytest.approx(0.5)


def test_predictions_or_rewards_that_never_vary_score_zero() -> None:
    assert held_out_score(np.zeros(4), np.arange(4.0), np.zeros(4, np.int64)).pearson == 0.0
    alone = held_out_score(np.arange(4.0), np.arange(4.0), np.arange(4))
    assert (alone.pearson, alone.num_rewards) == (0.0, 0)


def test_the_record_counts_the_newest_rounds_and_compares_none_with_another() -> None:
    record, products = HeldOutRecord(), np.repeat(np.arange(25), 4)
    rewards = np.random.default_rng(1).normal(size=100)
    assert record.score() is None
    record.add(-rewards, rewards, products)
    for level in range(ROUNDS_COUNTED):
        record.add(rewards + 100.0 * level, rewards - 100.0 * level, products)
    score = record.score()
    assert score is not None
    assert score.pearson == pytest.approx(1.0)
    assert score.num_rewards == 100 * ROUNDS_COUNTED


def test_too_few_rewards_have_no_score() -> None:
    record, few = HeldOutRecord(), MIN_HELD_OUT_REWARDS // 4 - 1
    record.add(np.zeros(4 * few), np.zeros(4 * few), np.repeat(np.arange(few), 4))
    assert record.score() is None


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 predictions"):
        held_out_score(np.zeros(1), np.zeros(2), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="not finite"):
        held_out_score(np.array([np.nan]), np.zeros(1), np.zeros(1, np.int64))
