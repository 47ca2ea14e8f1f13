"""What a creative's CTR probably is: empirical-Bayes shrinkage towards its product's own mean, and the probability that it beats another.

A creative's true CTR is taken as drawn from Beta(k r, k (1 - r)) around its test's own CTR r. Shrinking towards a global mean instead would
pull a strong product's little-shown creative below its well-shown weaker one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MAX_PRIOR = 1e7
"""k where no creative differs from another beyond chance: the posteriors of a test then are all but equal."""
MIN_PRIOR = 1.0
"""k at its least: creatives that differ more than any Beta distribution with a mode would have them."""


def own_ctr(clicks: FloatArray, impressions: FloatArray, index: IntArray, count: int) -> FloatArray:
    """(T,) own CTR of each test; half a click in 100 impressions is added, which keeps it inside (0, 1)."""
    clicked = np.bincount(index, clicks, minlength=count) + 0.5
    return clicked / (np.bincount(index, impressions, minlength=count) + 100.0)


def estimate_prior_impressions(clicks: FloatArray, impressions: FloatArray, index: IntArray, count: int) -> float:
    """k, by the method of moments over all tests together.

    With r a test's pooled CTR, N its impressions, m its creatives and rho = 1 / (k + 1), Pearson's heterogeneity
    Q = sum n_i (x_i / n_i - r)^2 / (r (1 - r)) has the mean rho (N - sum n_i^2 / N) + (1 - rho) (m - 1); summed over tests and solved for
    rho (the analysis-of-variance estimator of an intraclass correlation; Ridout et al., Biometrics 55, 1999). Tests without clicks, or
    with nothing but clicks, say nothing.

    Args:
        clicks: (N,) clicks of each creative.
        impressions: (N,) impressions of each creative, above 0.
        index: (N,) its test, 0 to count - 1.
        count: T, number of tests.
    """
    shown, clicked = np.bincount(index, impressions, minlength=count), np.bincount(index, clicks, minlength=count)
    sizes = np.bincount(index, minlength=count)
    told = (sizes > 1) & (clicked > 0.0) & (clicked < shown)
    if not told.any():
        return MAX_PRIOR
    rate = np.where(told, clicked / np.maximum(shown, 1.0), 0.5)
    deviations = impressions * (clicks / impressions - rate[index]) ** 2 / (rate * (1.0 - rate))[index]
    heterogeneity = np.bincount(index, deviations, minlength=count)[told].sum()
    squares = np.bincount(index, impressions**2, minlength=count)
    room = (shown - squares / np.maximum(shown, 1.0))[told].sum()
    freedom = float((sizes - 1)[told].sum())
    correlation = (heterogeneity - freedom) / max(room - freedom, 1e-12)
    return float(np.clip(1.0 / correlation - 1.0, MIN_PRIOR, MAX_PRIOR)) if correlation > 0.0 else MAX_PRIOR


def posterior(
    clicks: FloatArray, impressions: FloatArray, prior_ctr: FloatArray, prior_impressions: float
) -> tuple[FloatArray, FloatArray]:
    """(mean, variance) of Beta(x + k r, n - x + k (1 - r)); all arrays of one shape, `prior_ctr` inside (0, 1)."""
    weight = impressions + prior_impressions
    mean = (clicks + prior_impressions * prior_ctr) / weight
    return mean, mean * (1.0 - mean) / (weight + 1.0)


def order_probability(mean_a: FloatArray, variance_a: FloatArray, mean_b: FloatArray, variance_b: FloatArray) -> FloatArray:
    """Probability that a's true CTR is above b's, both Beta posteriors taken as normal. The same in torch: `objectives.clicks`."""
    return np.asarray(ndtr((mean_a - mean_b) / np.sqrt(variance_a + variance_b)), dtype=np.float64)


def z_score(clicks_a: FloatArray, shown_a: FloatArray, clicks_b: FloatArray, shown_b: FloatArray) -> FloatArray:
    """Two-proportion z of a's CTR against b's with pooled variance; 0 where neither was clicked, or both always."""
    pooled = (clicks_a + clicks_b) / (shown_a + shown_b)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / shown_a + 1.0 / shown_b))
    difference = clicks_a / shown_a - clicks_b / shown_b
    return np.divide(difference, error, out=np.zeros_like(difference), where=error > 0.0)
