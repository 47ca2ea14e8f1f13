"""Policy gradient with a leave-one-out baseline and a clipped step.

The baseline is RLOO's (Ahmadian et al. 2024, arXiv 2402.14740). The clip is PPO's (Schulman et al. 2017, arXiv 1707.06347) on whole
answers, with a higher bound upwards (DAPO, Yu et al. 2025, arXiv 2503.14476) and a bound for bad answers (dual clip, Ye et al. 2020, arXiv
1912.09729).
GRPO's division by the group's deviation is left out: a group of near equals would count as much as one with a clear winner.
"""

from __future__ import annotations

import torch

from caig_rl.objectives.groups import ScoredGroups, mean_where

DUAL_CLIP = 3.0
"""A bad answer's loss grows no further once the policy says it this many times as often as the sampler."""
_MAX_LOG_RATIO = 20.0


def clipped_policy_gradient_loss(groups: ScoredGroups, clip_low: float, clip_high: float, sharpness: float) -> torch.Tensor:
    """Mean over candidates of -min(q A, clip(q, 1 - clip_low, 1 + clip_high) A), q = pi(y|x) / behaviour(y|x), A = sharpness * advantage.

    Args:
        groups: G groups of K scored answers.
        clip_low: 0.2 in PPO.
        clip_high: 0.28 in DAPO.
        sharpness: scale of the advantages, which are log-odds of a click and small.

    Returns:
        (G,) losses in scaled log-odds; 0 for a group with fewer than two usable candidates.
    """
    advantages = sharpness * leave_one_out_advantages(groups)
    ratio = (groups.log_probs - groups.behaviour).clamp(max=_MAX_LOG_RATIO).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages)
    bounded = torch.where(advantages < 0.0, torch.maximum(gain, DUAL_CLIP * advantages), gain)
    return mean_where(-bounded, groups.usable)


def leave_one_out_advantages(groups: ScoredGroups) -> torch.Tensor:
    """(G, K) reward less the mean reward of the group's other usable candidates, log-odds; 0 where there is no other, or not usable."""
    rewards = groups.rewards.detach()
    others = groups.usable.sum(dim=1, keepdim=True) - 1
    advantages = rewards - (rewards.sum(dim=1, keepdim=True) - rewards) / others.clamp(min=1)
    return advantages.masked_fill(~groups.usable | (others < 1), 0.0)
