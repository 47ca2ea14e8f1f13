"""Noise and prior of Bayesian ridge regression by maximising the evidence (Bishop 2006, section 3.5; MacKay 1992).

With ridge = noise^2 / prior^2 and A = X^T X + ridge I, the best noise^2 is (y^T y - y^T X A^-1 X^T y) / n. What is left is a search over
one number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.optimize import minimize_scalar

from caig_rl.prompt_model.moments import Moments

RIDGE_SPREAD = 1.0
"""Deviation of log(ridge) around the default's, before the rewards are seen. The evidence of few rewards shrinks the effects too much."""
SEARCH_REACH = 3.0
"""The search covers this much of log(ridge) on both sides of the default."""
MAX_SEARCH_STEPS = 8
"""Each costs one Cholesky factorisation."""
_SQUARE_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class RidgeEvidence:
    """What one ridge comes to."""

    log_evidence: float
    """log p(y) in nats at the best noise for this ridge, less a constant."""
    noise: float
    """That noise, log-odds."""


def ridge_evidence(moments: Moments, ridge: float) -> RidgeEvidence:
    """-(n log noise^2 + log |A| - D log ridge) / 2 at the best noise. Raises ValueError without free rewards."""
    if moments.free < 1:
        raise ValueError("the evidence needs more rewards than products")
    size = len(moments.cross)
    factor = linalg.cholesky(moments.gram + ridge * np.eye(size), lower=True)
    fitted = linalg.solve_triangular(factor, moments.cross, lower=True)
    variance = max(moments.square - float(fitted @ fitted), _SQUARE_FLOOR) / moments.free
    determinant = 2.0 * float(np.log(np.diag(factor)).sum())
    evidence = -0.5 * (moments.free * math.log(variance) + determinant - size * math.log(ridge))
    return RidgeEvidence(evidence, math.sqrt(variance))


def best_ridge(moments: Moments, default: float) -> float:
    """The most probable ridge, log(ridge) ~ Normal(log(default), RIDGE_SPREAD^2) before the rewards are seen."""
    centre = math.log(default)

    def cost(logarithm: float) -> float:
        return 0.5 * ((logarithm - centre) / RIDGE_SPREAD) ** 2 - ridge_evidence(moments, math.exp(logarithm)).log_evidence

    bounds = (centre - SEARCH_REACH, centre + SEARCH_REACH)
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"maxiter": MAX_SEARCH_STEPS, "xatol": 0.05})
    return math.exp(float(found.x))
