"""Bayesian ridge regression of rewards on sparse rows, within products. Bounded in dimension, and refitted each round.

y = X w + noise, w ~ Normal(0, prior^2 I), noise ~ Normal(0, noise^2) (Bishop 2006, Pattern Recognition and Machine Learning, section 3.3).
Rewards are comparable inside a product only, so rows and rewards are taken less their product's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from caig_rl.prompt_model.evidence import best_ridge, ridge_evidence
from caig_rl.prompt_model.moments import FloatArray, IntArray, Moments, RewardedRows, varying_columns

MAX_COLUMNS = 1024
"""Features that carry weight: those that vary most within products. It bounds the posterior's memory and time."""
DEFAULT_NOISE = 0.25
"""Deviation of a reward around the linear model, in log-odds."""
DEFAULT_PRIOR = 0.12
"""Prior deviation of one feature's effect, in log-odds."""
MIN_FREE_REWARDS = 400
"""Rewards less products. Below it noise and prior stay at their defaults: too few rewards to choose them by."""
MIN_NOISE = 1e-3
"""Log-odds. Rewards that the model fits exactly leave this much doubt."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Normal distribution of the weights, given the rewards. Columns outside `columns` have weight 0: novelty alone earns nothing."""

    width: int
    """Columns of the rows that it was fitted on."""
    columns: IntArray
    """(D,) columns that carry weight, ascending."""
    mean: FloatArray
    """(D,) posterior mean, log-odds a feature."""
    factor: FloatArray
    """(D, D) lower Cholesky factor of A = X^T X + ridge I; the covariance is noise^2 A^-1."""
    noise: float
    """Deviation of a reward around the model, log-odds."""
    prior: float
    """Prior deviation of a weight, log-odds."""

    def weights(self) -> FloatArray:
        """(width,) the posterior mean over all columns."""
        return self._over_all_columns(self.mean)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """(width,) one draw of the weights."""
        standard = rng.standard_normal(len(self.mean))
        return self._over_all_columns(self.mean + self.noise * linalg.solve_triangular(self.factor, standard, lower=True, trans="T"))

    def covariance(self) -> FloatArray:
        """(D, D) posterior covariance of the weights of `columns`."""
        inverse: FloatArray = linalg.cho_solve((self.factor, True), np.eye(len(self.mean)))
        return self.noise**2 * inverse

    def _over_all_columns(self, values: FloatArray) -> FloatArray:
        weights = np.zeros(self.width)
        weights[self.columns] = values
        return weights


def fit_posterior(data: RewardedRows, max_columns: int = MAX_COLUMNS) -> Posterior:
    """The posterior of the weights; noise and prior by the evidence from `MIN_FREE_REWARDS` on, at their defaults before.

    Args:
        data: rows with their rewards.
        max_columns: the most columns that carry weight.
    """
    columns = varying_columns(data, max_columns)
    moments = Moments.of(data, columns)
    ridge, noise = (DEFAULT_NOISE / DEFAULT_PRIOR) ** 2, DEFAULT_NOISE
    if moments.free >= MIN_FREE_REWARDS and len(columns):
        ridge = best_ridge(moments, ridge)
        noise = max(ridge_evidence(moments, ridge).noise, MIN_NOISE)
    return posterior_at(data.rows.shape[1], columns, moments, ridge, noise)


def posterior_at(width: int, columns: IntArray, moments: Moments, ridge: float, noise: float) -> Posterior:
    """The posterior at a given ridge = noise^2 / prior^2 and noise."""
    factor = linalg.cholesky(moments.gram + ridge * np.eye(len(columns)), lower=True)
    mean = linalg.cho_solve((factor, True), moments.cross)
    return Posterior(width, columns, mean, factor, noise, noise / ridge**0.5)


def leave_product_out(posterior: Posterior, data: RewardedRows) -> FloatArray:
    """(N,) each row's prediction by a model that saw all products but its own, less the product's mean, in the order of `data`.

    In closed form: with H = X_p A^-1 X_p^T of product p and its residuals r, its rewards are missed by (I - H)^-1 r (Cook and Weisberg
    1982, Residuals and Influence in Regression, for single rows). Columns, noise and prior are those chosen with all products.
    """
    predictions = []
    for x, y, products in data.chunks(posterior.columns):
        half = linalg.solve_triangular(posterior.factor, x.T, lower=True)
        residuals = y - x @ posterior.mean
        for start, end in _spans(products):
            influence = half[:, start:end].T @ half[:, start:end]
            missed = linalg.solve(np.eye(end - start) - influence, residuals[start:end], assume_a="pos")
            predictions.append(y[start:end] - missed)
    return np.concatenate([*predictions, np.empty(0)])


def _spans(products: IntArray) -> list[tuple[int, int]]:
    starts = np.flatnonzero(np.diff(products, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(products)], strict=True))
