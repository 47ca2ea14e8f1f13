"""Reward-weighted likelihood over all usable candidates: every creative that was painted is learned from.

Reward-weighted regression (Peters and Schaal 2007, ICML) in the exponential form of advantage-weighted regression (Peng et al. 2019, arXiv
1910.00177), its weights normalised within the product's group, so that rewards need only be comparable there.
"""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import ScoredGroups


def listwise_loss(groups: ScoredGroups, sharpness: float) -> torch.Tensor:
    """-sum_k softmax(sharpness * r)_k * log pi(y_k|x), over usable candidates.

    It is no contrast: a single usable candidate has weight 1, and equal rewards imitate all candidates alike. An anchor against drift is a
    term of its own, see `anchors`.

    Args:
        groups: G groups of K scored answers.
        sharpness: one over AWR's temperature, per log-odds of a click: 14 gives a candidate that is 0.1 log-odds better 4 times the weight.

    Returns:
        (G,) losses in nats; 0 for a group without a usable candidate.
    """
    return -(listwise_weights(groups, sharpness) * groups.log_probs).sum(dim=1)


def listwise_weights(groups: ScoredGroups, sharpness: float) -> torch.Tensor:
    """(G, K) softmax(sharpness * r) over usable candidates, 0 for the others; each row adds up to 1, or to 0 where none is usable."""
    scores = (sharpness * groups.rewards.detach()).masked_fill(~groups.usable, torch.finfo(groups.rewards.dtype).min)
    return torch.softmax(scores, dim=1).masked_fill(~groups.usable, 0.0)
