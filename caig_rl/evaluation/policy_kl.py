"""KL(policy || initial policy) from answers that the policy sampled: how far it has moved from where it began. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from caig_rl.types import RolloutGroup

TokenLogProbs = Sequence[float]
"""Natural-log probability of each token of an answer."""


def answer_kl(policy: TokenLogProbs, reference: TokenLogProbs) -> float:
    """Estimate of KL(policy || `reference`) from one answer of the policy, in nats: sum over its tokens of r - 1 - log r, with
    r = reference / policy ("k3"; Schulman 2020, Approximating KL Divergence). Never below 0, and unbiased for a token's own distribution.

    Raises ValueError where the two differ in length.
    """
    if len(policy) != len(reference):
        raise ValueError(f"{len(policy)} log-probs of the policy for {len(reference)} of the reference")
    log_ratio = np.subtract(reference, policy, dtype=np.float64)
    return float(np.sum(np.expm1(log_ratio) - log_ratio))


def answer_kls(groups: Sequence[RolloutGroup], references: Sequence[Sequence[TokenLogProbs]]) -> npt.NDArray[np.float64]:
    """(P, K) `answer_kl` of K answers each to P products; `references[p][k]` are the reference's log-probs of that answer's tokens."""
    return np.array(
        [
            [answer_kl(rollout.logprobs, reference) for rollout, reference in zip(group.rollouts, row, strict=True)]
            for group, row in zip(groups, references, strict=True)
        ]
    )
