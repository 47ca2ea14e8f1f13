"""Hand-written stand-ins for what surrounds the loop: a source of products, a judge, a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from caig_rl.models.policy import load_policy
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.types import Cutout, ImageArray, Judgement, Product, Rejected
from tests.tiny import make_tiny_policy

CATEGORIES = ("kitchen", "garden", "sport")


class FakeSource:
    """`num` products whose pixels are noise in a box."""

    def __init__(self, num: int, prefix: str = "p", rejected: Sequence[Rejected] = (), vanished: Sequence[str] = ()) -> None:
        """`vanished`: products without pixels."""
        self.products = [Product(f"{prefix}{i}", f"thing {prefix}{i}", CATEGORIES[i % 3]) for i in range(num)]
        self.rejected = list(rejected)
        self._vanished = set(vanished)

    def cutouts(self, product_ids: Sequence[str]) -> list[Cutout]:
        """One noisy box a product, the same every time."""
        gone = self._vanished & set(product_ids)
        if gone:
            raise FileNotFoundError(f"the picture of {min(gone)} is gone")
        return [_cutout(sum(product_id.encode())) for product_id in product_ids]


class BrightnessJudge:
    """Clicks go to bright creatives."""

    simulated = True

    def judge(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> list[Judgement]:
        """CTR from the mean grey level."""
        return [Judgement(0.01 + 0.04 * float(creative.mean()) / 255.0, 0.5) for creative in creatives]

    def oracle_prompts(self, product: Product, count: int) -> list[str]:
        """Nobody knows what makes a picture bright."""
        return []


def make_tiny_reward(folder: Path) -> Path:
    """A random reward model over the tiny policy's backbone."""
    torch.manual_seed(3)
    model, processor = load_policy(make_tiny_policy(folder / "backbone", seed=3))
    RewardScorer(model.model, processor, RewardSpec(image_size=64)).save(folder / "reward")
    return folder / "reward"


def _cutout(seed: int) -> Cutout:
    rgba = np.random.default_rng(seed).integers(0, 256, (48, 40, 4), dtype=np.uint8)
    rgba[..., 3] = 0
    rgba[4:44, 4:36, 3] = 255
    return Cutout(rgba, 1.0, "alpha")
