"""Pairs of logged creatives agree with those that the whole-log pipeline makes."""

import numpy as np
import pytest

from caig_rl.data.clicks.pairs import POLICIES
from caig_rl.learning.reward_pairs import all_pairs, by_policy, fit_tau
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
def test_policies_keep_what_their_names_say_with_mean_weight_one(policy):
    rows = make_rows(40, 4)
    pairs = all_pairs(rows, np.arange(40))
    kept = by_policy(pairs, rows, policy)
    assert 0 < len(kept) <= len(pairs)
    assert kept.weight.mean() == pytest.approx(1.0)
    if policy == "significant":
        assert (np.abs(kept.z) > 1.96).all()
    if policy == "posterior":
        sure = np.abs(2.0 * kept.order_probability - 1.0)
        np.testing.assert_allclose(kept.weight, sure / sure.mean())
    else:
        assert set(kept.weight.tolist()) == {1.0}


def test_tau_of_answers_made_with_it_is_found():
    differences = np.random.default_rng(0).normal(0.0, 0.3, 5000)
    assert fit_tau(differences, 1.0 / (1.0 + np.exp(-7.0 * differences))) == pytest.approx(7.0, rel=1e-3)
