"""The loss of a batch of scored groups: the objective, its product-centric term, and what keeps the language."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from caig_rl.config.schema import Config
from caig_rl.objectives.anchors import likelihood_anchor, reference_divergence
from caig_rl.objectives.best_worst import best_product_centric_loss
from caig_rl.objectives.groups import ScoredGroups, picked
from caig_rl.objectives.pcpo_official import official_product_centric_loss
from caig_rl.objectives.registry import OBJECTIVES


@dataclass(frozen=True, slots=True, eq=False)
class GroupLosses:
    """Losses of G groups, (G,) each."""

    total: torch.Tensor
    """Everything, by its weight."""
    main: torch.Tensor
    """The objective's own term."""
    product_centric: torch.Tensor
    """L_PCPO without its weight; zeros where the objective has none."""
    margins: torch.Tensor
    """(log pi - log ref)(best) - (log pi - log ref)(worst), nats: the implicit reward's preference for the best candidate."""


def group_losses(config: Config, groups: ScoredGroups, kl_weight: float, pc_weight: float) -> GroupLosses:
    """L = L_objective + w * L_PCPO + nll_weight * (winner's mean negative log-likelihood) + kl_weight * (divergence from the reference).

    Args:
        config: the objective, its temperatures and weights.
        groups: G groups of K scored answers, with negatives where the objective has them.
        kl_weight: weight of the divergence now; it may adapt during a run.
        pc_weight: w now; it may be lower than the configured one (`term_balance`).
    """
    learner = config.learner
    main = OBJECTIVES[config.objective].loss(groups, learner)
    total, product_centric = main, torch.zeros_like(main)
    if groups.negative_log_probs is not None:
        product_centric = _product_centric(config, groups)
        total = total + pc_weight * product_centric
    if learner.nll_weight > 0.0:
        total = total + learner.nll_weight * likelihood_anchor(groups)
    if kl_weight > 0.0:
        total = total + kl_weight * reference_divergence(groups)
    ratios = groups.log_ratios.detach()
    return GroupLosses(total, main, product_centric, picked(ratios, groups.best()) - picked(ratios, groups.worst()))


def _product_centric(config: Config, groups: ScoredGroups) -> torch.Tensor:
    if config.objective != "pcpo_official":
        return best_product_centric_loss(groups, config.learner.beta_pc)
    assert groups.negative_log_probs is not None and groups.negative_reference is not None
    best = groups.best()
    return official_product_centric_loss(
        picked(groups.log_probs, best),
        groups.negative_log_probs,
        picked(groups.reference, best),
        groups.negative_reference,
        config.learner.beta_pc,
    )
