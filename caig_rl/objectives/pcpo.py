"""L_PCPO of CAIG (METHOD, stage C): the winner's prompt should fit its own product better than a product it does not belong to."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def product_centric_loss(
    policy_chosen: torch.Tensor, policy_negative: torch.Tensor, ref_chosen: torch.Tensor, ref_negative: torch.Tensor, beta: float
) -> torch.Tensor:
    """-log sigmoid(beta' * [(log pi(y_w|x) - log ref(y_w|x)) - (log pi(y_w|x~) - log ref(y_w|x~))]), one value a pair.

    The answer y_w is the same on both sides; the product information is the only variable: x~ has a masked picture, or another product's
    text.

    Args:
        policy_chosen: (B,) log pi(y_w | x), summed over the answer's tokens, in nats.
        policy_negative: (B,) log pi(y_w | x~).
        ref_chosen: (B,) log ref(y_w | x), without gradient.
        ref_negative: (B,) log ref(y_w | x~), without gradient.
        beta: beta'; the paper takes 0.5.

    Returns:
        (B,) losses in nats.
    """
    return -logsigmoid(beta * ((policy_chosen - ref_chosen) - (policy_negative - ref_negative)))
