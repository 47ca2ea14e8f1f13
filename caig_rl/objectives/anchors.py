"""Terms beside an objective that keep the policy's language: the winner's likelihood, and the divergence from the reference."""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import ScoredGroups, mean_where, picked
from caig_rl.objectives.nll import winner_nll


def likelihood_anchor(groups: ScoredGroups) -> torch.Tensor:
    """(G,) -log pi(y_w|x) / |y_w| of the best usable candidate, nats a token; 0 for a group without one.

    Pang et al. 2024, Iterative Reasoning Preference Optimization, arXiv 2404.19733.
    """
    best = groups.best()
    return winner_nll(picked(groups.log_probs, best), picked(groups.num_tokens, best))


def reference_divergence(groups: ScoredGroups) -> torch.Tensor:
    """(G,) mean over all sampled answers of (log pi - log ref)^2 / 2, nats squared; 0 for a group without one.

    Answers that are not learned from count too: broken language is what the reference finds least likely of all.

    On answers that the policy sampled itself, the gradient is that of KL(policy || reference). That of the usual estimate r - 1 - log r is
    not (Tang and Munos 2025, On a few pitfalls in KL divergence gradient estimation for RL, arXiv 2506.09477), and overflows far out.
    """
    if groups.sampled_log_ratios is None or groups.sampled is None:
        return mean_where(0.5 * groups.log_ratios**2, groups.usable)
    return mean_where(0.5 * groups.sampled_log_ratios**2, groups.sampled)
