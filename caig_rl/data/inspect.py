"""What a catalog holds, in numbers: for `caig-rl data inspect`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from caig_rl.interfaces import ProductSource

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)
"""The quantiles of cut-out confidence that a summary holds."""
_EXAMPLES = 3
_BATCH = 32


@dataclass(frozen=True, slots=True)
class RejectionSummary:
    """The rows rejected for one reason."""

    count: int
    examples: tuple[str, ...]
    """Messages of the first three."""


@dataclass(frozen=True, slots=True)
class CatalogSummary:
    """Counts over a catalog. `num_products` plus the counts of `rejected` is the number of rows read."""

    num_products: int
    categories: dict[str, int]
    """Products by category, the largest first."""
    rejected: dict[str, RejectionSummary]
    """Rows by reason, the most frequent first."""
    methods: dict[str, int]
    """Products by how they were cut out: "alpha" or "plain_ground"."""
    confidence: dict[float, float]
    """Quantile -> cut-out confidence, over the products cut out of a plain ground; empty where there are none."""


def inspect_catalog(source: ProductSource) -> CatalogSummary:
    """Summarise `source`, loading each product's cut-out once."""
    methods: Counter[str] = Counter()
    confidences: list[float] = []
    ids = [product.product_id for product in source.products]
    for start in range(0, len(ids), _BATCH):
        for cutout in source.cutouts(ids[start : start + _BATCH]):
            methods[cutout.method] += 1
            if cutout.method == "plain_ground":
                confidences.append(cutout.confidence)
    return CatalogSummary(
        num_products=len(ids),
        categories=dict(Counter(product.category for product in source.products).most_common()),
        rejected=_rejections(source),
        methods=dict(methods.most_common()),
        confidence={q: float(np.quantile(confidences, q)) for q in QUANTILES} if confidences else {},
    )


def _rejections(source: ProductSource) -> dict[str, RejectionSummary]:
    counts = Counter(row.reason for row in source.rejected)
    messages = {reason: [row.message for row in source.rejected if row.reason == reason] for reason in counts}
    return {reason: RejectionSummary(count, tuple(messages[reason][:_EXAMPLES])) for reason, count in counts.most_common()}
