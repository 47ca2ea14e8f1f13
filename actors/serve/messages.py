"""What travels between the ingress and the models. Light to import: the ingress loads no model library."""

from __future__ import annotations

from dataclasses import dataclass

from caig_rl.types import ImageArray

BATCH_WAIT_S = 0.02
"""How long renderer and scorer wait for a batch to fill."""


@dataclass(frozen=True, slots=True)
class PromptJob:
    """Prompts wanted for one product."""

    instruction: str
    view: ImageArray
    """(image_size, image_size, 3)."""
    seed: int
    num: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """The policy's answer: prompts, or why the product's text cannot be asked about."""

    texts: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Painted:
    """One creative on its way from renderer to scorer."""

    png: bytes
    view: ImageArray
    """(side, side, 3): all that the reward model looks at."""
    left_out: str
    """The usability gate's reason; empty where it may be shown."""
