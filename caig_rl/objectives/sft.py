"""Supervised fine-tuning on winners (best-of-K imitation; RAFT, Dong et al. 2023, arXiv 2304.06767): a baseline that reads one of K."""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import ScoredGroups, picked


def winner_likelihood_loss(groups: ScoredGroups) -> torch.Tensor:
    """(G,) -log pi(y_w|x) of the best usable candidate, in nats an answer; 0 for a group without one.

    Args:
        groups: G groups of K scored answers.
    """
    return -picked(groups.log_probs, groups.best())
