"""Which approved creative a visitor sees: Thompson sampling that starts from the predicted CTR, never below an exploration floor.

The probability of each choice is estimated first, by sampling posteriors, and the choice is then drawn from just those probabilities: so
the logged propensity is exactly the one that was used, and off-policy estimates from the log are unbiased.

The belief about a creative with predicted CTR p is Beta(k q + clicks, k (1 - q) + impressions - clicks), where q = p * level, k is
`prior_impressions`, and level = (c + clicks of all) / (c + predicted clicks of all) corrects what the reward model gets wrong for the
product as a whole (it has never seen the product's own base rate); c = `LEVEL_CLICKS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LEVEL_CLICKS = 5.0
"""Clicks that the predicted level of a product counts for."""
DRAWS = 400
"""Posterior samples behind the probabilities."""
_LOWEST, _HIGHEST = 1e-6, 0.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the candidates for one place, each array (N,)."""

    predicted_ctr: FloatArray
    """Fractions of impressions, by the reward model."""
    impressions: FloatArray
    """In the visitor's segment (in all, where it is unknown)."""
    clicks: FloatArray
    other_impressions: FloatArray
    """In all other segments; zeros where the segment is unknown."""
    other_clicks: FloatArray


def choice_probabilities(
    evidence: Evidence, prior_impressions: float, exploration: float, rng: np.random.Generator, draws: int = DRAWS
) -> FloatArray:
    """(N,) probabilities that sum to 1, each at least exploration / N.

    Args:
        evidence: predictions and counts of N >= 1 candidates.
        prior_impressions: k, what the predicted CTR counts for.
        exploration: share of choices spread evenly.
        rng: source of the posterior samples.
        draws: posterior samples; a probability is a multiple of 1 / draws before the floor.
    """
    alpha, beta = posterior(evidence, prior_impressions)
    best = rng.beta(alpha, beta, size=(draws, len(alpha))).argmax(axis=1)
    wins = np.bincount(best, minlength=len(alpha)) / draws
    return np.asarray((1.0 - exploration) * wins + exploration / len(alpha), dtype=np.float64)


def posterior(evidence: Evidence, prior_impressions: float) -> tuple[FloatArray, FloatArray]:
    """(N,) alpha and beta of each candidate's CTR in the segment.

    Other segments shift the prior's mean, and count for no more than the prediction does: segments differ, but not in everything.
    """
    predicted = np.clip(evidence.predicted_ctr, _LOWEST, _HIGHEST)
    shown, clicked = evidence.impressions + evidence.other_impressions, evidence.clicks + evidence.other_clicks
    level = (LEVEL_CLICKS + clicked.sum()) / (LEVEL_CLICKS + float(shown @ predicted))
    prior = np.clip(predicted * level, _LOWEST, _HIGHEST)
    mean = (prior_impressions * prior + evidence.other_clicks) / (prior_impressions + evidence.other_impressions)
    weight = prior_impressions + np.minimum(evidence.other_impressions, prior_impressions)
    return weight * mean + evidence.clicks, weight * (1.0 - mean) + evidence.impressions - evidence.clicks
