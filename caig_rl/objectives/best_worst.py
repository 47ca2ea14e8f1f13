"""CAIG's own pair out of a group (METHOD, stage C): the best usable candidate against the worst, and against itself under x~."""

from __future__ import annotations

import torch

from caig_rl.objectives.dpo import dpo_loss
from caig_rl.objectives.groups import ScoredGroups, picked
from caig_rl.objectives.pcpo import product_centric_loss


def best_worst_dpo_loss(groups: ScoredGroups, beta: float) -> torch.Tensor:
    """L_DPO of each group's best and worst usable candidate.

    Args:
        groups: G groups of K scored answers.
        beta: temperature; the paper takes 0.5.

    Returns:
        (G,) losses in nats; 0 for a group without two usable candidates of unequal reward.
    """
    best, worst = groups.best(), groups.worst()
    losses = dpo_loss(
        picked(groups.log_probs, best),
        picked(groups.log_probs, worst),
        picked(groups.reference, best),
        picked(groups.reference, worst),
        beta,
    )
    return losses.masked_fill(picked(groups.rewards, best) <= picked(groups.rewards, worst), 0.0)


def best_product_centric_loss(groups: ScoredGroups, beta: float) -> torch.Tensor:
    """L_PCPO of each group's best usable candidate, which needs no loser.

    Args:
        groups: G groups of K scored answers, with negatives: the best candidate's under x~.
        beta: beta'; the paper takes 0.5.

    Returns:
        (G,) losses in nats; 0 for a group without a usable candidate.

    Raises:
        ValueError: the groups have no negatives.
    """
    if groups.negative_log_probs is None or groups.negative_reference is None:
        raise ValueError("the product-centric term needs the best answer's log-probs under replaced product information")
    best = groups.best()
    losses = product_centric_loss(
        picked(groups.log_probs, best), groups.negative_log_probs, picked(groups.reference, best), groups.negative_reference, beta
    )
    return losses.masked_fill(~groups.usable.any(dim=1), 0.0)
