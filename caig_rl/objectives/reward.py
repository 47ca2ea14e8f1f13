"""Losses of the reward models that the paper uses or compares with (METHOD, stage B and section 5)."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, logsigmoid

POINT_WEIGHT = 0.5
"""Weight of the point loss beside the comparison, in the paper and in VAM."""
VAM_SHARPNESS = 1000.0
"""VAM's list-wise target is softmax(1000 * ctr): a tenth of a per cent is a factor of e."""


def side_by_side_loss(
    logits: torch.Tensor, left_wins: torch.Tensor, predicted: torch.Tensor, normalised_ctr: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted mean of CE(left/right) + 0.5 * MSE(predicted CTRs, normalised true CTRs).

    Args:
        logits: (B, 2) of "left" and "right".
        left_wins: (B,) 1 where the left one is the better, 0 where the right one is; between them for a label that is not sure.
        predicted: (B, 2) of the CTR head.
        normalised_ctr: (B, 2) CTRs, mean 0 and deviation 1 over the training creatives: raw ones would leave the term without effect.
        weights: (B,) of the pair policy.
    """
    target = torch.stack([left_wins, 1.0 - left_wins], dim=1)
    classes = cross_entropy(logits, target, reduction="none")
    point = ((predicted - normalised_ctr) ** 2).mean(dim=1)
    return (weights * (classes + POINT_WEIGHT * point)).sum() / weights.sum()


def vam_loss(scores: torch.Tensor, percent: torch.Tensor, ctr: torch.Tensor) -> torch.Tensor:
    """VAM's loss over one product's K creatives: list-wise cross-entropy against softmax(1000 * ctr), plus 0.5 * squared error against
    100 * ctr.

    Args:
        scores: (K,) ranking scores.
        percent: (K,) predicted CTRs in per cent.
        ctr: (K,) smoothed CTRs, fractions.
    """
    target = torch.softmax(VAM_SHARPNESS * ctr, dim=0)
    listwise = -(target * torch.log_softmax(scores, dim=0)).sum()
    return listwise + POINT_WEIGHT * ((percent - 100.0 * ctr) ** 2).mean()


def pairwise_loss(differences: torch.Tensor, first_wins: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the logistic loss of score differences (B,); `first_wins` (B,) as `left_wins` above."""
    losses = -(first_wins * logsigmoid(differences) + (1.0 - first_wins) * logsigmoid(-differences))
    return (weights * losses).sum() / weights.sum()


def smoothed_ctr(clicks: torch.Tensor, impressions: torch.Tensor, prior_clicks: float, prior_misses: float) -> torch.Tensor:
    """(clicks + a) / (impressions + a + b), one value a creative."""
    return (clicks + prior_clicks) / (impressions + prior_clicks + prior_misses)
