"""What a round of training came to. Light to import: the controller and its fakes need no torch for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundMetrics:
    """What a round of training came to, over all ranks. Losses are means over groups, in nats."""

    rows: int
    """Groups trained on, each once an epoch."""
    steps: int
    """Optimiser steps taken."""
    loss: float
    dpo_loss: float
    """The objective's own term, whatever its name."""
    product_centric_loss: float
    accuracy: float
    """Share of groups whose best candidate the implicit reward preferred to the worst, before each step; ties count half."""
    kl: float
    """KL(policy || initial policy) in nats an answer, of the policy that wrote the round's answers, on them (k3 estimate: mean of
    r - 1 - log r)."""
    logprob_gap: float
    """Mean absolute difference of sampling and learner log-prob, nats a token, on the answers of the first step: a fault where the policy
    that sampled is the one that learns, staleness where it is older."""
    grad_norm: float
    """Mean over steps, before clipping."""
    lr: float
    """Of the last step."""
    seconds: float
    """Wall time of this rank."""
    kl_weight: float = 0.0
    """Weight of the divergence term during the round."""
    fluent: float = 1.0
    """Share of the answers that `learner.fluency_floor` lets be learned from."""
    pc_weight: float | None = None
    """Weight of the product-centric term during the round; None where the objective has none."""
    reference_kl: float | None = None
    """The same against a reference that has moved (`learner.reference_every`); None where the reference is the initial policy."""
    replayed: int = 0
    """Of `rows`, groups of former rounds."""
