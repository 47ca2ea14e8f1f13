"""Made-up click logs: bright creatives are clicked more."""

from __future__ import annotations

import numpy as np

from caig_rl.learning.reward_rows import RewardRows


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
