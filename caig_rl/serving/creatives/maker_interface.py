"""What the service asks of the models, and what they give back. The cluster's adapters fill it in; tests bring a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from caig_rl.types import Cutout, Product


@dataclass(frozen=True, slots=True)
class Order:
    """Creatives wanted for one product, all by one policy version."""

    product: Product
    cutout: Cutout
    candidates: int
    seed: int
    """Instruction wording, prompts and noise derive from it: the same order gives the same creatives."""
    version: str
    request_id: str = ""
    """For the log."""


NOT_SCORED = "not_scored"
"""Left out since the reward model had no score for it: its failure, not the picture's."""


@dataclass(frozen=True, slots=True)
class Made:
    """One candidate."""

    candidate: int
    instruction: str
    prompt: str
    png: bytes
    """Empty where it was left out."""
    score: float
    """Log-odds by the reward model; NaN where it was left out."""
    predicted_ctr: float
    left_out: str = ""
    """Why it cannot be shown: "product_changed", "product_extended", "blank", `NOT_SCORED`; empty where it can."""


class CreativeMaker(Protocol):
    """The models behind the service."""

    models: str
    """Hash of settings and weights of renderer and reward model: with prompt and seed it says how a picture came to be."""

    def make(self, order: Order) -> AsyncIterator[Made]:
        """Every candidate once, as it is finished.

        Raises:
            Problem: 422 where the policy cannot read the product's text, 503 where the models are busy.
        """
