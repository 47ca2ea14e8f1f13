"""Known answers of the reward model's report card."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caig_rl.errors import ClickLogError
from caig_rl.evaluation.reward_evaluation import (
    JudgedPairs,
    agreement,
    calibration_bins,
    clustered_interval,
    evaluate_pairs,
    expected_calibration_error,
    most_wrong,
)


def make_pairs(log_odds, label, q=None, **more) -> JudgedPairs:
    count = len(log_odds)
    label = np.array([np.nan if value is None else value for value in label], dtype=float)
    q = np.where(np.isnan(label), 0.5, np.where(label == 1.0, 0.9, 0.1)) if q is None else np.array(q)
    fields = {
        "significant": np.ones(count, dtype=bool),
        "products": [f"p{k // 2}" for k in range(count)],
        "categories": ["mugs", "soap"] * (count // 2) + ["mugs"] * (count % 2),
    }
    return JudgedPairs(np.array(log_odds, dtype=float), label, q, **(fields | more))


def test_right_wrong_undecided_and_unlabelled_pairs_count_as_they_should():
    found = evaluate_pairs(make_pairs([2.0, -1.0, 0.0, 3.0], [1, 1, 0, None]))
    assert found.all_pairs.value == pytest.approx((1.0 + 0.0 + 0.5) / 3)
    assert (found.all_pairs.pairs, found.undecided) == (3, 0.25)
    assert found.all_pairs.ceiling == pytest.approx(0.9)
    assert found.all_pairs.reach == pytest.approx(0.0)
    assert {name: one.pairs for name, one in found.by_category.items()} == {"mugs": 2, "soap": 1}


def test_significant_pairs_are_measured_apart_and_may_be_none():
    significant = np.array([True, False, False, True])
    found = evaluate_pairs(make_pairs([1.0, -1.0, -1.0, 1.0], [1, 1, 1, 1], significant=significant))
    assert found.significant.value == 1.0 and found.all_pairs.value == 0.5
    assert evaluate_pairs(make_pairs([1.0, 1.0], [1, 1], significant=np.zeros(2, dtype=bool))).significant is None


def test_without_a_label_there_is_nothing_to_measure():
    with pytest.raises(ClickLogError, match="none of 1 pairs has an order"):
        evaluate_pairs(make_pairs([1.0], [None]))


def test_honest_confidence_has_no_calibration_error_and_bragging_has():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 50_000)
    honest = (rng.random(50_000) < confidence).astype(float)
    assert expected_calibration_error(calibration_bins(confidence, honest)) < 0.01
    brag = calibration_bins(np.full(1000, 0.95), (np.arange(1000) < 700).astype(float)[rng.permutation(1000)])
    assert expected_calibration_error(brag) == pytest.approx(0.25, abs=0.03)


def test_two_bins_are_what_is_worked_out_by_hand():
    bins = calibration_bins(np.array([0.9, 0.6, 0.8, 0.5]), np.array([1.0, 1.0, 0.0, 0.0]), bins=2)
    assert [(one.confidence, one.accuracy, one.pairs) for one in bins] == [(0.55, 0.5, 2), (pytest.approx(0.85), 0.5, 2)]
    assert expected_calibration_error(bins) == pytest.approx((0.05 + 0.35) / 2)


def test_the_most_wrong_pair_is_the_surest_against_the_surest_clicks():
    pairs = make_pairs([0.1, 5.0, 5.0, 5.0], [0, 0, 1, 0], q=[0.01, 0.4, 0.99, 0.01])
    assert most_wrong(pairs, 2) == [3, 1]
    assert most_wrong(pairs, 9) == [3, 1, 0]


def test_agreement_counts_undecided_pairs_half():
    assert agreement(np.array([1.0, -1.0, 1.0, 0.0]), np.array([2.0, -3.0, -1.0, 1.0])) == pytest.approx(2.5 / 4)


def test_pairs_of_one_product_are_drawn_together():
    values, alone = np.repeat([0.0, 1.0] * 10, 50), np.array([str(k) for k in range(1000)])
    together = clustered_interval(values, np.repeat([str(k) for k in range(20)], 50))
    apart = clustered_interval(values, alone)
    assert together.high - together.low > 4 * (apart.high - apart.low)
    assert clustered_interval(values, np.full(1000, "one")) == (0.0, 1.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([0, 1, None])), min_size=1, max_size=30))
def test_turning_every_pair_round_changes_nothing(rows):
    log_odds, label = zip(*rows, strict=True)
    if all(value is None for value in label):
        return
    one = evaluate_pairs(make_pairs(log_odds, label))
    other = evaluate_pairs(make_pairs([-x for x in log_odds], [None if value is None else 1 - value for value in label]))
    assert one.all_pairs.value == pytest.approx(other.all_pairs.value)
    assert one.all_pairs.ceiling == pytest.approx(other.all_pairs.ceiling)
    assert one.ece == pytest.approx(other.ece)
    assert 0.0 <= one.all_pairs.value <= 1.0
