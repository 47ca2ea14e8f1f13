"""The product-centric negative x~ of L_PCPO (METHOD, stage C): which of the product's information is replaced, and by whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.config.learner import PAPER_NEGATIVES, NegativeName
from caig_rl.data.instructions import NANO_LIMITS, Task, TextLimits, instruction
from caig_rl.learning.preference.other_products import OtherProducts
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
    """The instruction about the other product, in the same wording; empty where the picture is what is replaced."""


class NegativeSampler:
    """Draws x~ for the admissions of one catalog. The same admission seed draws the same."""

    def __init__(
        self, products: Sequence[Product], shares: Mapping[NegativeName, float] = PAPER_NEGATIVES, limits: TextLimits = NANO_LIMITS
    ) -> None:
        """Look through the catalog, once.

        Args:
            products: the catalog, in a fixed order.
            shares: kind -> weight (`learner.negatives`), one of them above 0.
            limits: longest product text in an instruction.
        """
        self._others, self._limits = OtherProducts(products), limits
        weights = {NegativeKind(name): weight for name, weight in shares.items() if weight > 0.0}
        self._kinds = [kind for kind in NegativeKind if kind in weights]
        self._ends = np.cumsum([weights[kind] for kind in self._kinds])

    def draw(self, seed: int, product: Product) -> Negative:
        """Draw x~ of one admission. Where no other product fits (`OtherProducts.draw`), the picture is masked.

        Args:
            seed: the admission's seed; it also chose the wording of the admission's instruction.
            product: the admission's product; another's text is for the same segment of shoppers.
        """
        generator = np.random.default_rng([_NEGATIVE_STREAM, seed])
        mask_seed = int(generator.integers(2**31))
        kind = self._kind(generator.random())
        other = self._other(kind, product, generator)
        if other is None:
            return Negative(NegativeKind.MASKED_IMAGE, mask_seed)
        if kind is NegativeKind.OTHER_PICTURE or (kind is NegativeKind.HARD and generator.random() < 0.5):
            return Negative(kind, mask_seed, other.product_id)
        text = instruction(Task.PROMPT_GENERATION, other.shown_to(product.segment), seed, self._limits)
        return Negative(kind, mask_seed, other.product_id, text)

    def _kind(self, drawn: float) -> NegativeKind:
        """The kind at `drawn`, 0 to 1, where the kinds lie one behind the other, each as long as its share."""
        place = int(np.searchsorted(self._ends, drawn * self._ends[-1], side="right"))
        return self._kinds[min(place, len(self._kinds) - 1)]

    def _other(self, kind: NegativeKind, product: Product, generator: np.random.Generator) -> Product | None:
        if kind is NegativeKind.MASKED_IMAGE:
            return None
        return (self._others.draw_similar if kind is NegativeKind.HARD else self._others.draw)(product, generator)
