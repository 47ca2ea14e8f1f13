"""The product-centric negative x~ of L_PCPO (METHOD, stage C): a masked picture, or another product's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.data.instructions import NANO_LIMITS, Task, TextLimits, instruction
from caig_rl.types import NegativeKind, Product

_NEGATIVE_STREAM = 0x9C90
"""Parts the negatives' random numbers from the policy's and the renderer's, which derive from the same admission seed."""


@dataclass(frozen=True, slots=True)
class Negative:
    """How x~ differs from x."""

    kind: NegativeKind
    mask_seed: int
    """Seed of the patch mask (used where the picture is masked)."""
    product_id: str = ""
    """The other product; empty for a masked picture."""
    instruction: str = ""
    """The instruction about the other product, in the same wording; empty for a masked picture."""


def draw_negative(seed: int, product: Product, others: Sequence[Product], limits: TextLimits = NANO_LIMITS) -> Negative:
    """Draw x~ for one admission, half masked picture, half another product's text; the same arguments give the same negative.

    The other product is of another category and has other text (catalogs repeat titles, and x~ = x teaches nothing); where `others` has
    none,
    the picture is masked.

    Args:
        seed: the admission's seed; it also chose the wording of the admission's instruction.
        product: the admission's product.
        others: products to draw from, in a fixed order; `product` itself may be among them.
    """
    generator = np.random.default_rng([_NEGATIVE_STREAM, seed])
    mask_seed = int(generator.integers(2**31))
    if generator.random() < 0.5:
        return Negative(NegativeKind.MASKED_IMAGE, mask_seed)
    candidates = [other for other in others if _differs(product, other)]
    if not candidates:
        return Negative(NegativeKind.MASKED_IMAGE, mask_seed)
    other = candidates[int(generator.integers(len(candidates)))]
    return Negative(NegativeKind.OTHER_TEXT, mask_seed, other.product_id, instruction(Task.PROMPT_GENERATION, other, seed, limits))


def _differs(product: Product, other: Product) -> bool:
    return (
        other.product_id != product.product_id
        and _folded(other.category) != _folded(product.category)
        and _folded(other.title) != _folded(product.title)
    )


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
