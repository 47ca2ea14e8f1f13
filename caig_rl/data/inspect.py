"""What a catalog holds, in numbers: for `caig-rl data inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.interfaces import ProductSource
from caig_rl.types import Note, Product, Rejected

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)
"""The quantiles of cut-out confidence that a summary holds."""
_BATCH = 32


@dataclass(frozen=True, slots=True)
class ReasonSummary:
    """The rows rejected, or noted, for one reason."""

    count: int
    messages: tuple[str, ...]
    """One a row, in the catalog's order."""


@dataclass(frozen=True, slots=True)
class MadeCutout:
    """A product that was cut out of a plain ground, and how well."""

    confidence: float
    """0-1."""
    product_id: str
    source: str
    """Where the product was read: "products.csv row 12"."""


@dataclass(frozen=True, slots=True)
class CatalogSummary:
    """Counts over a catalog. `num_products` plus the counts of `rejected` is the number of rows read."""

    num_products: int
    categories: dict[str, int]
    """Products by category, the largest first."""
    held_out: dict[str, int]
    """Of those, the ones that are held out, by category; empty where none is."""
    rejected: dict[str, ReasonSummary]
    """Rows by reason, the most frequent first."""
    notes: dict[str, ReasonSummary]
    """Notes by reason, the most frequent first: what was changed or left out without costing a row."""
    methods: dict[str, int]
    """Products by how they were cut out: "alpha" or "plain_ground"."""
    confidence: dict[float, float]
    """Quantile -> cut-out confidence, over the products cut out of a plain ground; empty where there are none."""
    made: tuple[MadeCutout, ...]
    """The products cut out of a plain ground, the least sure first."""


def inspect_catalog(source: ProductSource, notes: Sequence[Note] = (), held_out: Sequence[Product] = ()) -> CatalogSummary:
    """Summarise `source`, loading each product's cut-out once. `notes` are the catalog's own, `held_out` its part that is held out."""
    methods: Counter[str] = Counter()
    made: list[MadeCutout] = []
    products = source.products
    for start in range(0, len(products), _BATCH):
        batch = products[start : start + _BATCH]
        for product, cutout in zip(batch, source.cutouts([one.product_id for one in batch]), strict=True):
            methods[cutout.method] += 1
            if cutout.method == "plain_ground":
                made.append(MadeCutout(cutout.confidence, product.product_id, product.source))
    confidences = [one.confidence for one in made]
    return CatalogSummary(
        num_products=len(products),
        categories=dict(Counter(product.category for product in products).most_common()),
        held_out=dict(Counter(product.category for product in held_out)),
        rejected=_by_reason(source.rejected),
        notes=_by_reason(notes),
        methods=dict(methods.most_common()),
        confidence={q: float(np.quantile(confidences, q)) for q in QUANTILES} if confidences else {},
        made=tuple(sorted(made, key=lambda one: one.confidence)),
    )


def _by_reason(rows: Sequence[Rejected] | Sequence[Note]) -> dict[str, ReasonSummary]:
    counts = Counter(row.reason for row in rows)
    messages = {reason: tuple(row.message for row in rows if row.reason == reason) for reason in counts}
    return {reason: ReasonSummary(count, messages[reason]) for reason, count in counts.most_common()}
