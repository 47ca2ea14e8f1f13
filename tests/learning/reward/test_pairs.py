"""Pairs of logged creatives agree with those that the whole-log pipeline makes."""

import numpy as np
import pytest

from caig_rl.data.clicks.pairs import POLICIES
from caig_rl.learning.reward.pairs import all_pairs, by_policy, fit_tau
from caig_rl.learning.reward.rows import RewardRows
from tests.learning.logged import make_rows


def test_pairs_stay_inside_products_and_leave_other_products_out():
    rows = make_rows(6, 3)
    pairs = all_pairs(rows, np.array([1, 4]))
    assert len(pairs) == 6
    assert (rows.product_index[pairs.first] == rows.product_index[pairs.second]).all()
    assert set(rows.product_index[pairs.first].tolist()) == {1, 4}
    ctr = rows.clicks / rows.impressions
    assert ((ctr[pairs.first] > ctr[pairs.second]) == (pairs.label == 1.0)).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_keep_what_their_names_say(policy):
    rows = make_rows(40, 4)
    pairs = all_pairs(rows, np.arange(40))
    kept = by_policy(pairs, rows, policy)
    assert 0 < len(kept) <= len(pairs)
    if policy == "significant":
        assert (np.abs(kept.z) > 1.96).all()
    if policy == "posterior":
        np.testing.assert_allclose(kept.weight, np.abs(2.0 * kept.order_probability - 1.0))
    else:
        assert set(kept.weight.tolist()) == {1.0}


def test_the_posterior_policy_learns_the_order_that_is_likely_not_the_one_that_few_impressions_showed():
    # 3 clicks of 120 look better than 400 of 20,000, and most likely are not.
    rows = RewardRows(np.zeros(3, np.int64), ["mug"], [], np.array([120.0, 20_000.0, 20_000.0]), np.array([3.0, 480.0, 400.0]))
    pairs = all_pairs(rows, np.array([0]), prior_impressions=300.0)
    kept = by_policy(pairs, rows, "posterior")
    assert pairs.label.tolist()[0] == 1.0 and pairs.order_probability[0] < 0.5
    assert kept.label.tolist() == (kept.order_probability > 0.5).astype(float).tolist()
    assert by_policy(pairs, rows, "all").label.tolist() == pairs.label.tolist()


def test_a_product_with_many_creatives_gives_a_selection_of_its_pairs():
    rows = make_rows(3, 6)
    every = all_pairs(rows, np.arange(3))
    some = all_pairs(rows, np.arange(3), most=4)
    assert (len(every), len(some)) == (45, 12)
    told = {(int(a), int(b)) for a, b in zip(every.first, every.second, strict=True)}
    chosen = [(int(a), int(b)) for a, b in zip(some.first, some.second, strict=True)]
    assert len(set(chosen)) == 12 and set(chosen) <= told
    again = all_pairs(rows, np.arange(3), most=4)
    assert (again.first == some.first).all() and (again.second == some.second).all()
    other = all_pairs(rows, np.arange(3), most=4, rng=np.random.default_rng(7))
    assert [(int(a), int(b)) for a, b in zip(other.first, other.second, strict=True)] != chosen


def test_tau_of_answers_made_with_it_is_found():
    differences = np.random.default_rng(0).normal(0.0, 0.3, 5000)
    assert fit_tau(differences, 1.0 / (1.0 + np.exp(-7.0 * differences))) == pytest.approx(7.0, rel=1e-3)
