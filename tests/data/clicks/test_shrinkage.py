"""Known answers of shrinkage and of order probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from caig_rl.data.clicks.shrinkage import MAX_PRIOR, estimate_prior_impressions, order_probability, own_ctr, posterior, z_score
from caig_rl.objectives.clicks import order_probability as torch_order_probability

COUNTS = st.tuples(st.integers(1, 10**6), st.floats(0.0, 1.0)).map(lambda pair: (int(pair[0] * pair[1]), pair[0]))


def test_the_posterior_is_the_beta_distribution_of_the_textbook():
    mean, variance = posterior(np.array([30.0]), np.array([1000.0]), np.array([0.02]), 500.0)
    beta = stats.beta(30 + 500 * 0.02, 970 + 500 * 0.98)
    assert mean[0] == pytest.approx(beta.mean())
    assert variance[0] == pytest.approx(beta.var())


def test_shrinkage_goes_to_the_tests_own_mean_and_flips_no_order_that_a_global_mean_would():
    # One strong product. Its little-shown creative is the better one in truth and in the log; a global mean of 2 % would pull it below.
    clicks, shown = np.array([60.0, 500.0]), np.array([1000.0, 10000.0])
    index = np.zeros(2, dtype=np.int64)
    own = own_ctr(clicks, shown, index, 1)[index]
    mean, _ = posterior(clicks, shown, own, 1000.0)
    globally, _ = posterior(clicks, shown, np.full(2, 0.02), 1000.0)
    assert mean[0] > mean[1]
    assert globally[0] < globally[1]


@pytest.mark.parametrize(("creatives", "k"), [(2, 200.0), (4, 200.0), (4, 2000.0)])
def test_the_priors_weight_is_recovered_from_logs_drawn_with_it(creatives: int, k: float):
    rng = np.random.default_rng(0)
    tests = 6000
    index = np.repeat(np.arange(tests), creatives)
    rate = np.exp(rng.normal(-3.5, 0.4, tests))[index]
    shown = rng.integers(500, 8000, len(index)).astype(float)
    clicks = rng.binomial(shown.astype(int), rng.beta(k * rate, k * (1 - rate))).astype(float)
    assert estimate_prior_impressions(clicks, shown, index, tests) == pytest.approx(k, rel=0.1)


def test_creatives_that_do_not_differ_get_the_heaviest_prior_within_chance():
    rng = np.random.default_rng(1)
    index = np.repeat(np.arange(3000), 3)
    shown = np.full(len(index), 2000.0)
    clicks = rng.binomial(2000, 0.03, len(index)).astype(float)
    assert estimate_prior_impressions(clicks, shown, index, 3000) > 20_000
    assert estimate_prior_impressions(np.zeros(3), np.full(3, 10.0), np.zeros(3, dtype=np.int64), 1) == MAX_PRIOR


def test_the_order_probability_is_the_integral_over_both_posteriors():
    (a, b), (c, d) = (40.0, 960.0), (70.0, 1930.0)
    grid = np.linspace(0.0, 0.12, 20001)
    exact = np.trapezoid(stats.beta(a, b).pdf(grid) * stats.beta(c, d).cdf(grid), grid)
    first, second = stats.beta(a, b), stats.beta(c, d)
    found = order_probability(*(np.array([value]) for value in (first.mean(), first.var(), second.mean(), second.var())))
    assert found[0] == pytest.approx(exact, abs=0.01)


def test_numpy_and_torch_say_the_same():
    clicks, shown = np.array([30.0, 20.0, 0.0]), np.array([1000.0, 900.0, 50.0])
    mean, variance = posterior(clicks, shown, np.full(3, 0.025), 300.0)
    ours = order_probability(mean[:, None], variance[:, None], mean[None], variance[None])
    theirs = torch_order_probability(torch.tensor(clicks), torch.tensor(shown), torch.full((3,), 0.025, dtype=torch.float64), 300.0)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-9)


@given(COUNTS, COUNTS, st.floats(1.0, 1e5), st.floats(0.001, 0.5))
def test_order_probabilities_add_up_to_one_and_stay_inside_it(a, b, k, rate):
    clicks, shown = np.array([a[0], b[0]], dtype=float), np.array([a[1], b[1]], dtype=float)
    mean, variance = posterior(clicks, shown, np.full(2, rate), k)
    q = order_probability(mean[:1], variance[:1], mean[1:], variance[1:])[0]
    assert 0.0 <= q <= 1.0
    assert q + order_probability(mean[1:], variance[1:], mean[:1], variance[:1])[0] == pytest.approx(1.0)
    assert np.sign(q - 0.5) == np.sign(mean[0] - mean[1]) or abs(q - 0.5) < 1e-9


def test_z_is_the_two_proportion_test_written_by_hand():
    z = z_score(np.array([60.0]), np.array([1000.0]), np.array([40.0]), np.array([1000.0]))
    assert z[0] == pytest.approx(0.02 / np.sqrt(0.05 * 0.95 * 2 / 1000))
    assert z_score(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1))[0] == 0.0
