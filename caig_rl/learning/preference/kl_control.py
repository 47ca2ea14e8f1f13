"""An adaptive bound on how far the policy moves from its reference: the weight of the divergence term follows the measured KL.

Schulman et al. 2017, Proximal Policy Optimization Algorithms, arXiv 1707.06347, section 4: the weight doubles where the KL is far above its
target and halves where it is far below. Here it may also be 0, so that a policy well within its bound pays nothing.
"""

from __future__ import annotations

FIRST_WEIGHT = 0.01
"""The weight of the first round beyond the bound, where it was 0."""


def adapted_kl_weight(weight: float, kl: float, bound: float | None, least: float = 0.0) -> float:
    """The weight for the next steps.

    Args:
        weight: now.
        kl: KL(policy || reference) on fresh samples, nats an answer.
        bound: nats an answer; None: the weight stays.
        least: never below this (`learner.kl_weight`).
    """
    if bound is None:
        return weight
    if kl > bound:
        return max(FIRST_WEIGHT, 2.0 * weight)
    if kl < bound / 1.5:
        halved = weight / 2.0
        return max(least, halved if halved >= FIRST_WEIGHT else 0.0)
    return weight
