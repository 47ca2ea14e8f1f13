"""Identity preference optimisation over all usable pairs (Azar et al. 2023, arXiv 2310.12036): it seeks a finite margin, unlike DPO."""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import CandidatePairs, ScoredGroups, mean_where


def ipo_loss(groups: ScoredGroups, beta: float) -> torch.Tensor:
    """Mean over pairs of unequal reward of (h - 1 / (2 beta))^2, h = the winner's log pi - log ref less the loser's.

    Args:
        groups: G groups of K scored answers.
        beta: the paper's tau, above 0: the margin sought is 1 / (2 beta) nats.

    Returns:
        (G,) squared errors in nats squared; 0 for a group without two usable candidates of unequal reward.

    Raises:
        ValueError: beta not above 0.
    """
    if beta <= 0.0:
        raise ValueError(f"beta must be above 0, not {beta}")
    pairs = CandidatePairs.of(groups)
    margins = torch.sign(pairs.gaps) * pairs.margins
    return mean_where((margins - 1.0 / (2.0 * beta)) ** 2, pairs.usable & (pairs.gaps != 0.0))
