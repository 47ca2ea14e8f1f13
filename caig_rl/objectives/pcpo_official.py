"""The product-centric term as the paper's code computes it: the answer is swapped along with the text. For reproduction only."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def official_product_centric_loss(
    policy_chosen: torch.Tensor, policy_swapped: torch.Tensor, ref_chosen: torch.Tensor, ref_swapped: torch.Tensor, beta: float
) -> torch.Tensor:
    """-log sigmoid(beta' * [(log pi(y_w|x) - log ref(y_w|x)) - (log pi(y_j|x_j) - log ref(y_j|x_j))]), one value a pair.

    x_j is this picture under product j's text and y_j is product j's own winner: where the text is swapped, so is the answer, which
    pushes down
    j's preferred prompt under j's text. `pcpo.product_centric_loss` keeps the answer.

    Args:
        policy_chosen: (B,) log pi(y_w | x), summed over the answer's tokens, in nats.
        policy_swapped: (B,) log pi(y_j | x_j); for a masked picture, log pi(y_w | x~) as in `pcpo`.
        ref_chosen: (B,) log ref(y_w | x), without gradient.
        ref_swapped: (B,) log ref(y_j | x_j), without gradient.
        beta: beta'; the paper takes 0.5.

    Returns:
        (B,) losses in nats.
    """
    return -logsigmoid(beta * ((policy_chosen - ref_chosen) - (policy_swapped - ref_swapped)))
