"""The posterior agrees with the textbook's dense formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import multivariate_normal

from caig_rl.prompt_model import moments as moments_module
from caig_rl.prompt_model.bayesian_linear import (
    DEFAULT_NOISE,
    DEFAULT_PRIOR,
    fit_posterior,
    leave_product_out,
    posterior_at,
)
from caig_rl.prompt_model.evidence import best_ridge, ridge_evidence
from caig_rl.prompt_model.moments import Moments, RewardedRows, varying_columns


def drawn(seed: int, products: int = 12, columns: int = 6, noise: float = 0.25, prior: float = 0.12) -> RewardedRows:
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(products), rng.integers(1, 6, products))
    rows = (rng.random((len(numbers), columns)) < 0.4).astype(float)
    weights = rng.normal(0, prior, columns)
    rewards = rows @ weights + 5.0 * numbers + rng.normal(0, noise, len(numbers))
    order = rng.permutation(len(numbers))
    return RewardedRows.sorted_by_product(sparse.csr_array(rows[order]), rewards[order], numbers[order])


def centred(data: RewardedRows) -> tuple[np.ndarray, np.ndarray]:
    means = np.equal.outer(data.products, data.products)
    projection = np.eye(len(data.products)) - means / means.sum(axis=1)
    return projection @ data.rows.toarray(), projection @ data.rewards


def test_mean_and_covariance_are_the_textbook_s() -> None:
    data = drawn(1)
    posterior = fit_posterior(data)
    x, y = centred(data)
    covariance = np.linalg.inv(x.T @ x / DEFAULT_NOISE**2 + np.eye(6) / DEFAULT_PRIOR**2)
    assert posterior.covariance() == pytest.approx(covariance, abs=1e-12)
    assert posterior.weights() == pytest.approx(covariance @ x.T @ y / DEFAULT_NOISE**2, abs=1e-12)
    assert (posterior.noise, posterior.prior) == pytest.approx((DEFAULT_NOISE, DEFAULT_PRIOR))


def test_draws_have_the_posterior_s_mean_and_covariance() -> None:
    posterior, rng = fit_posterior(drawn(2)), np.random.default_rng(0)
    draws = np.array([posterior.sample(rng) for _ in range(20_000)])
    assert draws.mean(axis=0) == pytest.approx(posterior.weights(), abs=0.005)
    assert np.cov(draws.T) == pytest.approx(posterior.covariance(), abs=0.001)


def test_the_same_generator_gives_the_same_draw() -> None:
    posterior = fit_posterior(drawn(2))
    assert np.array_equal(posterior.sample(np.random.default_rng(7)), posterior.sample(np.random.default_rng(7)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_level_of_a_product_and_the_order_of_rows_do_not_matter(seed: int) -> None:
    data = drawn(seed)
    rng = np.random.default_rng(seed)
    order, level = rng.permutation(len(data.rewards)), rng.normal(0, 10, 12)
    numbers = data.products[order] * 3 + 1
    other = RewardedRows.sorted_by_product(data.rows[order], data.rewards[order] + level[data.products[order]], numbers)
    assert fit_posterior(other).weights() == pytest.approx(fit_posterior(data).weights(), abs=1e-9)


def test_chunks_of_whole_products_add_up_to_the_sums_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(3, products=40)
    whole = Moments.of(data, np.arange(6))
    monkeypatch.setattr(moments_module, "_CHUNK_ROWS", 7)
    parts = Moments.of(data, np.arange(6))
    assert len(list(data.chunks(np.arange(6)))) > 5
    assert parts.gram == pytest.approx(whole.gram)
    assert (parts.square, parts.free) == (pytest.approx(whole.square), len(data.rewards) - 40)


def test_the_evidence_is_the_likelihood_of_the_centred_rewards_up_to_a_constant() -> None:
    data = drawn(4, products=30)
    x, y = centred(data)
    sums = Moments.of(data, np.arange(6))
    # An orthonormal basis of what the centring leaves turns the singular normal into a plain one.
    means = np.equal.outer(data.products, data.products)
    values, vectors = np.linalg.eigh(np.eye(len(y)) - means / means.sum(axis=1))
    basis = vectors[:, values > 0.5]
    differences = []
    for ridge in (0.5, 4.0, 40.0):
        found = ridge_evidence(sums, ridge)
        covariance = found.noise**2 * (np.eye(basis.shape[1]) + basis.T @ x @ x.T @ basis / ridge)
        differences.append(multivariate_normal(cov=covariance).logpdf(basis.T @ y) - found.log_evidence)
    assert differences == pytest.approx([differences[0]] * 3, abs=1e-8)


def test_evidence_finds_the_noise_and_the_prior_that_drew_the_rewards() -> None:
    posterior = fit_posterior(drawn(5, products=800, columns=200, noise=0.5, prior=0.3))
    assert posterior.noise == pytest.approx(0.5, rel=0.1)
    assert posterior.prior == pytest.approx(0.3, rel=0.2)


def test_the_ridge_is_not_beaten_by_its_neighbours() -> None:
    sums = Moments.of(drawn(6, products=300, columns=40), np.arange(40))
    default = (DEFAULT_NOISE / DEFAULT_PRIOR) ** 2
    best = best_ridge(sums, default)
    score = lambda ridge: ridge_evidence(sums, ridge).log_evidence - 0.5 * np.log(ridge / default) ** 2  # noqa: E731
    assert score(best) >= max(score(best * 1.3), score(best / 1.3))


def test_the_evidence_needs_more_rewards_than_products() -> None:
    with pytest.raises(ValueError, match="more rewards than products"):
        ridge_evidence(Moments(np.eye(1), np.zeros(1), 0.0, 0), 1.0)


def test_leaving_a_product_out_in_closed_form_is_fitting_without_it() -> None:
    data = drawn(7)
    posterior = fit_posterior(data)
    predicted = leave_product_out(posterior, data)
    x, _ = centred(data)
    for product in range(12):
        inside = data.products == product
        rest = RewardedRows.sorted_by_product(data.rows[~inside], data.rewards[~inside], data.products[~inside])
        sums = Moments.of(rest, posterior.columns)
        without = posterior_at(6, posterior.columns, sums, (DEFAULT_NOISE / DEFAULT_PRIOR) ** 2, DEFAULT_NOISE)
        assert predicted[inside] == pytest.approx(x[inside] @ without.weights(), abs=1e-9)


def test_columns_that_vary_most_within_products_are_kept() -> None:
    rows = np.array([[1.0, 1, 0, 0], [1, 0, 0, 0.3], [1, 1, 0, 0], [1, 0, 5, 0.3], [1, 0, 5, 0]])
    data = RewardedRows.sorted_by_product(sparse.csr_array(rows), np.zeros(5), np.array([0, 0, 1, 2, 2]))
    assert varying_columns(data, 10).tolist() == [1, 3]
    assert varying_columns(data, 1).tolist() == [1]


def test_rows_that_never_vary_leave_all_weights_at_zero() -> None:
    data = RewardedRows.sorted_by_product(sparse.csr_array(np.ones((4, 3))), np.arange(4.0), np.array([0, 0, 1, 1]))
    posterior = fit_posterior(data)
    assert posterior.weights().tolist() == [0.0] * 3
    assert posterior.sample(np.random.default_rng(0)).tolist() == [0.0] * 3
    assert leave_product_out(posterior, data).tolist() == [0.0] * 4


def test_a_reward_that_is_not_finite_and_unequal_lengths_are_refused() -> None:
    rows = sparse.csr_array(np.eye(2))
    with pytest.raises(ValueError, match="not finite"):
        RewardedRows.sorted_by_product(rows, np.array([0.0, np.nan]), np.array([0, 0]))
    with pytest.raises(ValueError, match="2 rows, 1 rewards"):
        RewardedRows.sorted_by_product(rows, np.array([0.0]), np.array([0, 0]))
