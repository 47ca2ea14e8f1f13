"""Regression of log-ratio differences on reward differences, over all usable pairs (REBEL, Gao et al. 2024, arXiv 2404.16767)."""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import CandidatePairs, ScoredGroups, mean_where


def rebel_loss(groups: ScoredGroups, beta: float, sharpness: float) -> torch.Tensor:
    """Mean over pairs of (beta h - sharpness (r_i - r_j))^2.

    h = (log pi(y_i|x) - log ref(y_i|x)) - (log pi(y_j|x) - log ref(y_j|x)). With `reference` refreshed every round it is the paper's
    algorithm, whose 1 / eta is beta; with a fixed one it seeks the optimum of the KL-regularised reward.

    Args:
        groups: G groups of K scored answers.
        beta: scale of the log-ratio differences.
        sharpness: scale of the reward differences.

    Returns:
        (G,) squared errors in nats squared; 0 for a group with fewer than two usable candidates.
    """
    pairs = CandidatePairs.of(groups)
    return mean_where((beta * pairs.margins - sharpness * pairs.gaps) ** 2, pairs.usable)
