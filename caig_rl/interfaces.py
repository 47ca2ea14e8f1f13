"""What a run needs from outside itself. `cli` fills these in: from the click world, or from the user's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from caig_rl.types import Cutout, ImageArray, Judgement, Product, PromptCheck, Rejected


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
    """The traffic that says how often a creative is really clicked. Picklable. It may be a `PromptChecker` too."""

    simulated: bool
    """True where shoppers are simulated; every report says so."""

    def judge(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> list[Judgement]:
        """Judge `creatives[i]`, a finished creative (size, size, 3), as an ad for `products[i]`."""

    def oracle_prompts(self, product: Product, count: int) -> list[str]:
        """The prompts known to be best for this product, to measure the ceiling by; empty where nobody knows them."""


@runtime_checkable
class SegmentJudge(Protocol):
    """A judge whose shoppers have segments. Of a product shown to one (`Product.segment`) it gives that segment's CTR, and of a product
    shown to everybody the CTR of all, with each segment's beside it (`Judgement.segment_ctrs`)."""

    segment_shares: Mapping[str, float]
    """Segment -> its share of the shoppers, adding up to 1."""


@runtime_checkable
class PromptChecker(Protocol):
    """A judge that also knows what a well-formed prompt is, and what a trap. Prompts of other judges are checked as plain language
    (`caig_rl.evaluation.prompt_health`)."""

    def check_prompts(self, products: Sequence[Product], prompts: Sequence[str]) -> list[PromptCheck]:
        """Check `prompts[i]`, written for `products[i]`. Only the report reads it: nothing is learned from it."""
