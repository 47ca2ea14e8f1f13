"""Keeps the product-centric term from taking the step: its weight falls until its gradient is no longer than the objective's own.

    w' = min(w, ||g_objective|| / ||g_pc||),    g = d loss / d (trained weights)

The adaptive weight of Esser et al. 2021 (Taming transformers, arXiv 2012.09841, equation 7), over all trained weights in place of the last
layer, and capped. The ratio must be taken at the weights: at the log-probs two losses of one form have the same gradient, 0.5 * beta each
way where the policy is its reference, while the embedded policy's weights feel a masked picture 1.7 times as much as DPO.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from caig_rl.learning.engine import sum_over_ranks


def balanced_weight(weight: float, objective_norm: float, product_centric_norm: float) -> float:
    """w': the weight of the product-centric term. Where a norm is no finite number, nothing can be said, and `weight` stays.

    Args:
        weight: w (`learner.pc_weight`), the most that w' is.
        objective_norm: gradient norm of the objective's own term.
        product_centric_norm: of L_PCPO without its weight.
    """
    if weight * product_centric_norm > objective_norm:
        return objective_norm / product_centric_norm
    return weight


class GradientNorm:
    """Norm of one loss's gradient over all ranks and micro-batches of a step. Leaves the weights' own `grad` alone."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """`parameters`: the trained ones."""
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._gradients: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor) -> None:
        """One micro-batch's loss, a scalar, weighed as for the step."""
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True, materialize_grads=True)
        gradients = [gradient.float() for gradient in found]
        self._gradients = [one + other for one, other in zip(self._gradients, gradients, strict=True)] if self._gradients else gradients

    def value(self, world_size: int) -> float:
        """The norm of the mean over `world_size` ranks, as the engine averages; all ranks call."""
        squared = torch.zeros((), dtype=torch.float64)
        for gradient in self._gradients:
            mean = gradient.flatten() if world_size == 1 else sum_over_ranks(gradient.flatten()) / world_size
            squared += mean.double().square().sum().cpu()
        return float(squared.sqrt())
