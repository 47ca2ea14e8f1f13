"""Creatives and products for the tests of the service."""

from __future__ import annotations

import numpy as np

from caig_rl.serving.creatives.store import StoredCreative
from caig_rl.types import Cutout, Product

MUG = Product("sku/7 é", "red mug", "mugs", "a mug")


def cutout() -> Cutout:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30] = (160, 20, 40, 255)
    return Cutout(rgba, 1.0, "alpha")


def stored(creative_id: str, **changes: object) -> StoredCreative:
    values = {
        "creative_id": creative_id, "tenant": "acme", "product_id": MUG.product_id, "title": MUG.title, "category": MUG.category,
        "description": "", "instruction": "write", "prompt": "a wooden table", "seed": 1, "candidate": 0, "version": "base", "score": 0.1,
        "predicted_ctr": 0.02, "cutout": "x", "models": "m", "created": 1000.0, "first_status": "pending", "objection": "",
    }  # fmt: skip
    return StoredCreative(**{**values, **changes})
