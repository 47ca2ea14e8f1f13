"""The winner's own likelihood beside a preference loss: DPO is content when both fall, as long as the loser falls faster."""

from __future__ import annotations

import torch


def winner_nll(policy_chosen: torch.Tensor, num_tokens: torch.Tensor) -> torch.Tensor:
    """-log pi(y_w|x) / |y_w|, one value a pair (Pang et al. 2024, Iterative Reasoning Preference Optimization, arXiv 2404.19733).

    Args:
        policy_chosen: (B,) log pi(y_w | x), summed over the answer's tokens, in nats.
        num_tokens: (B,) |y_w|, at least 1.

    Returns:
        (B,) nats a token.
    """
    return -policy_chosen / num_tokens
