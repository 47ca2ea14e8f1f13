"""L_DPO of CAIG (METHOD, stage C): prefer the winner's prompt to the loser's, measured against the reference."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def dpo_loss(
    policy_chosen: torch.Tensor, policy_rejected: torch.Tensor, ref_chosen: torch.Tensor, ref_rejected: torch.Tensor, beta: float
) -> torch.Tensor:
    """-log sigmoid(beta * [(log pi(y_w|x) - log ref(y_w|x)) - (log pi(y_l|x) - log ref(y_l|x))]), one value a pair.

    Args:
        policy_chosen: (B,) log pi(y_w | x), summed over the answer's tokens, in nats.
        policy_rejected: (B,) log pi(y_l | x).
        ref_chosen: (B,) log ref(y_w | x), without gradient.
        ref_rejected: (B,) log ref(y_l | x), without gradient.
        beta: temperature; the paper takes 0.5.

    Returns:
        (B,) losses in nats.
    """
    return -logsigmoid(beta * ((policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)))
