from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from caig_rl.models.reward.interface import RewardError
from caig_rl.models.reward.true_ctr import TrueCtrReward
from caig_rl.types import ImageArray, Judgement, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.vocabulary import draw_spec

MUG = Product("a", "mug", "mug")


class GreyJudge:
    """A creative's grey level, in per cent, is its CTR; keeps the size of every batch."""

    simulated = True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def judge(self, products: Sequence[Product], creatives: Sequence[ImageArray]) -> list[Judgement]:
        self.batches.append(len(creatives))
        return [Judgement(float(creative.mean()) / 100.0, 0.5) for creative in creatives]

    def oracle_prompts(self, product: Product, count: int) -> list[str]:
        return []


def grey(level: int) -> ImageArray:
    return np.full((8, 8, 3), level, np.uint8)


def test_a_score_is_the_log_odds_of_the_true_ctr_in_batches_of_the_size_asked() -> None:
    judge = GreyJudge()
    scores = TrueCtrReward(judge).score([MUG] * 3, [grey(50), grey(20), grey(80)], batch_size=2)
    assert scores == pytest.approx([0.0, np.log(0.25), np.log(4.0)])
    assert judge.batches == [2, 1]


def test_a_comparison_is_the_difference_of_log_odds() -> None:
    assert TrueCtrReward(GreyJudge()).compare([MUG], [grey(80)], [grey(20)]) == pytest.approx([np.log(16.0)])


@pytest.mark.parametrize("level", [0, 100])
def test_a_ctr_without_log_odds_is_an_error_of_its_product(level: int) -> None:
    with pytest.raises(RewardError, match="product\\(s\\) b"):
        TrueCtrReward(GreyJudge()).score([MUG, Product("b", "mug", "mug")], [grey(3), grey(level)])


def test_the_worlds_shoppers_are_asked_about_what_they_see() -> None:
    """At 64 pixels a side, whatever the creative's size: a creative scaled up is worth what it was."""
    rng = np.random.default_rng(0)
    products = list(WorldProducts(0, 4, "eval").products)
    scenes = [draw_scene(draw_spec(rng), rng) for _ in products]
    large = [scene.repeat(4, axis=0).repeat(4, axis=1) for scene in scenes]
    judge = WorldJudge(0)
    scores = TrueCtrReward(judge).score(products, large)
    ctrs = np.array([one.ctr for one in judge.judge(products, scenes)])
    assert scores == pytest.approx(np.log(ctrs / (1 - ctrs)), abs=1e-5)
