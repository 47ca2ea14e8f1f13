"""Made-up click logs: bright creatives are clicked more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from caig_rl.data.clicks.groups import encode_png
from caig_rl.learning.reward.objective import LogFacts
from caig_rl.learning.reward.rows import RewardRows


def make_rows(products: int, creatives: int, impressions: int = 20_000) -> RewardRows:
    """Logs in which bright creatives are clicked more, by 0.8 in log-odds from black to white, on products of unequal base rates."""
    generator = np.random.default_rng(0)
    index = np.repeat(np.arange(products), creatives)
    brightness = generator.uniform(0.0, 1.0, products * creatives)
    logits = generator.normal(-4.0, 0.4, products)[index] + 0.8 * (brightness - 0.5)
    shown = np.full(len(index), impressions)
    clicks = generator.binomial(shown, 1.0 / (1.0 + np.exp(-logits)))
    images = [np.full((64, 64, 3), int(30 + 200 * value), dtype=np.uint8) for value in brightness]
    return RewardRows(index, [f"mug {product}" for product in range(products)], images, shown, clicks)


def make_groups(size: int, products: range, batch: int = 8) -> Iterator[dict[str, Any]]:
    """Bright creatives are clicked more; in batches as Ray Data hands them over."""
    rows = make_rows(70, 4)
    for start in range(products.start, products.stop, batch):
        names = range(start, min(start + batch, products.stop))
        places = [np.flatnonzero(rows.product_index == name) for name in names]
        yield {
            "product_id": [f"p{name}" for name in names],
            "title": [f"mug {name}" for name in names],
            "category": ["kitchen"] * len(names),
            "description": [""] * len(names),
            "images": [[encode_png(rows.images[int(k)][:size, :size]) for k in members] for members in places],
            "impressions": [rows.impressions[members].astype(float) for members in places],
            "clicks": [rows.clicks[members].astype(float) for members in places],
        }


def make_facts() -> LogFacts:
    rows = make_rows(70, 4)
    ctr = rows.clicks / rows.impressions
    return LogFacts(float(ctr.mean()), float(rows.clicks.mean()), float(ctr.mean()), float(ctr.std()), 500.0)
