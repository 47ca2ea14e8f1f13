"""Objectives of the per-image scorer (METHOD, section 4): binomial likelihood of clicks, and soft pairwise order."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def binomial_loss(logits: torch.Tensor, clicks: torch.Tensor, impressions: torch.Tensor) -> torch.Tensor:
    """(N,) negative log-likelihood in nats of `clicks` (N,) in `impressions` (N,) at CTR = sigmoid(`logits` (N,)), the constant left
    out."""
    return -(clicks * logsigmoid(logits) + (impressions - clicks) * logsigmoid(-logits))


def soft_order_loss(differences: torch.Tensor, order_probabilities: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
    """-q log sigmoid(tau ds) - (1 - q) log sigmoid(-tau ds), one value a pair; q = 0.5 teaches equality, not an order.

    Args:
        differences: (M,) ds = s_i - s_j in log-odds of a click.
        order_probabilities: (M,) q, the posterior probability that creative i's true CTR is the higher.
        tau: scalar above 0: ds is small (a CTR ratio of 1.1 is 0.1) even when the order is certain.
    """
    scaled = tau * differences
    return -(order_probabilities * logsigmoid(scaled) + (1.0 - order_probabilities) * logsigmoid(-scaled))


def order_probability(clicks: torch.Tensor, impressions: torch.Tensor, prior_ctr: torch.Tensor, prior_impressions: float) -> torch.Tensor:
    """(N, N) posterior probability that creative i's true CTR is above creative j's; normal approximation of Beta posteriors.

    Each creative's prior is Beta(k * r, k * (1 - r)) around its product's own CTR r: shrinking towards a global mean would flip orders at
    unequal
    impressions.

    Args:
        clicks: (N,) clicks.
        impressions: (N,) impressions.
        prior_ctr: (N,) r, the CTR of the creative's product, inside (0, 1).
        prior_impressions: k, the prior's weight in impressions, above 0.
    """
    weight = impressions + prior_impressions
    mean = (clicks + prior_impressions * prior_ctr) / weight
    variance = mean * (1.0 - mean) / (weight + 1.0)
    return torch.special.ndtr((mean[:, None] - mean[None, :]) / (variance[:, None] + variance[None, :]).sqrt())


def fit_intercepts(
    scores: torch.Tensor,
    clicks: torch.Tensor,
    impressions: torch.Tensor,
    product_index: torch.Tensor,
    prior_logit: float,
    prior_std: float,
    iterations: int = 20,
) -> torch.Tensor:
    """(P,) the intercept a of each product that best explains its clicks at CTR = sigmoid(a + s), under a ~ Normal(prior_logit, prior_std).

    Newton's method on a strictly convex problem in one variable a product, steps capped at 2; nothing here carries gradient.

    Args:
        scores: (N,) s in log-odds.
        clicks: (N,) clicks.
        impressions: (N,) impressions.
        product_index: (N,) int64, 0 to P - 1.
        prior_logit: global prior of the log-odds of a click.
        prior_std: its spread over products, in log-odds.
        iterations: Newton steps.
    """
    scores, clicks, impressions = scores.detach().double(), clicks.double(), impressions.double()
    count = int(product_index.max()) + 1
    intercepts = torch.full((count,), prior_logit, dtype=torch.float64)
    for _ in range(iterations):
        ctr = torch.sigmoid(intercepts[product_index] + scores)
        gradient = (intercepts - prior_logit) / prior_std**2
        gradient = gradient.index_add(0, product_index, impressions * ctr - clicks)
        curvature = torch.full((count,), 1.0 / prior_std**2, dtype=torch.float64)
        curvature = curvature.index_add(0, product_index, impressions * ctr * (1.0 - ctr))
        intercepts = intercepts - (gradient / curvature).clamp(-2.0, 2.0)
    return intercepts.float()
