"""What a run needs from outside itself. `cli` fills these in: from the click world, or from the user's own files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from caig_rl.types import Cutout, ImageArray, Judgement, Product, Rejected


class ProductSource(Protocol):
    """Products to make creatives for. Picklable: workers call `cutouts` on their own node."""

    @property
    def products(self) -> Sequence[Product]:
        """Every usable product, in a fixed order."""

    @property
    def rejected(self) -> Sequence[Rejected]:
        """Every row that never became a product."""

    def cutouts(self, product_ids: Sequence[str]) -> list[Cutout]:
        """Load the pixels of these products, in this order."""


class Judge(Protocol):
    """The traffic that says how often a creative is really clicked. Picklable."""

    simulated: bool
    """True where shoppers are simulated; every report says so."""

    def judge(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> list[Judgement]:
        """Judge `creatives[i]`, a finished creative (size, size, 3), as an ad for `products[i]`."""

    def oracle_prompts(self, product: Product, count: int) -> list[str]:
        """The prompts known to be best for this product, to measure the ceiling by; empty where nobody knows them."""
