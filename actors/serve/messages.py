"""What travels between the ingress and the models. Light to import: the ingress loads no model library."""

from __future__ import annotations

from dataclasses import dataclass

from caig_rl.types import Cutout, ImageArray, Product

NO_VERSION = ""
"""What renderer and scorer batch under: their weights never change."""


@dataclass(frozen=True, slots=True)
class PromptJob:
    """Prompts wanted for one product."""

    instruction: str
    view: ImageArray
    """(image_size, image_size, 3)."""
    seed: int
    num: int
    request_id: str = ""
    """For the log, here and in the other jobs."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The policy's answer: prompts, or why the product's text cannot be asked about."""

    texts: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class PaintJob:
    """Creatives of one product, as many as prompts: the cut-out travels and is placed once for all of them."""

    cutout: Cutout
    prompts: tuple[str, ...]
    noise_seed: int
    """One noise for all, as in training: they differ by their prompt alone."""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Painted:
    """One creative on its way from renderer to scorer."""

    png: bytes
    view: ImageArray
    """(side, side, 3): all that the reward model looks at."""
    left_out: str
    """The usability gate's reason; empty where it may be shown."""


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Creatives of one product that want a score."""

    product: Product
    views: tuple[ImageArray, ...]
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the reward model says of one creative."""

    score: float
    """Log-odds; NaN where none could be computed."""
    predicted_ctr: float
