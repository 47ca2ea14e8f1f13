"""The paper's form: no position bias once both orders are averaged, both heads kept, the product's text seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from caig_rl.imaging.views import GREY
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.interface import RewardError
from caig_rl.models.reward.loading import load_reward
from caig_rl.models.reward.side_by_side import SideBySideReward, SideBySideSpec, side_by_side
from caig_rl.types import Product
from tests.tiny import make_processor, make_tiny_policy, random_picture

PRODUCTS = [Product("a", "red mug", "kitchen", "holds tea"), Product("b", "soap", "bathroom")]


@pytest.fixture
def model(tmp_path: Path) -> SideBySideReward:
    torch.manual_seed(0)
    backbone = AutoModel.from_pretrained(make_tiny_policy(tmp_path / "backbone"))
    return SideBySideReward(backbone, make_processor(), SideBySideSpec(creative_size=32)).eval()


def _pictures(seed: int) -> list[np.ndarray]:
    return [random_picture(seed), random_picture(seed + 10)]


def test_one_order_depends_on_the_position_and_both_together_do_not(model: SideBySideReward):
    one, other = model.left_log_odds(PRODUCTS, _pictures(0), _pictures(1)), model.left_log_odds(PRODUCTS, _pictures(1), _pictures(0))
    assert np.abs(one + other).max() > 1e-4
    np.testing.assert_allclose(model.compare(PRODUCTS, _pictures(0), _pictures(1)), -model.compare(PRODUCTS, _pictures(1), _pictures(0)))


def test_the_products_text_changes_the_answer(model: SideBySideReward):
    other = [Product("a", "a bottle of shampoo", "bathroom"), PRODUCTS[1]]
    assert model.left_log_odds(PRODUCTS, _pictures(0), _pictures(1))[0] != model.left_log_odds(other, _pictures(0), _pictures(1))[0]


def test_answers_do_not_depend_on_the_batch(model: SideBySideReward):
    np.testing.assert_allclose(
        model.compare(PRODUCTS, _pictures(0), _pictures(1)), model.compare(PRODUCTS, _pictures(0), _pictures(1), batch_size=1), atol=1e-5
    )


def test_a_saved_folder_keeps_both_heads_and_is_loaded_by_its_kind(model: SideBySideReward, tmp_path: Path):
    model.save(tmp_path / "reward")
    loaded = load_reward(resolve_model_folder(str(tmp_path / "reward"), "reward"))
    assert isinstance(loaded, SideBySideReward) and loaded.spec == model.spec
    assert torch.equal(loaded.heads["ctr"].weight, model.heads["ctr"].weight)
    np.testing.assert_array_equal(loaded.compare(PRODUCTS, _pictures(0), _pictures(1)), model.compare(PRODUCTS, _pictures(0), _pictures(1)))


def test_scores_of_two_candidates_are_their_comparison(model: SideBySideReward):
    first, second = random_picture(0), random_picture(1)
    scores = model.score([PRODUCTS[0]] * 2, [first, second])
    assert scores[0] - scores[1] == pytest.approx(model.compare(PRODUCTS[:1], [first], [second])[0], abs=1e-5)


def test_an_answer_that_is_not_finite_names_the_product(model: SideBySideReward):
    model.heads["side"].bias.data[0] = float("nan")
    with pytest.raises(RewardError, match="a, b"):
        model.compare(PRODUCTS, _pictures(0), _pictures(1))


def test_the_left_creative_stands_left_and_a_square_is_filled_with_grey():
    black, white = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    pair = side_by_side(black, white, 32)
    assert pair.shape == (32, 64, 3) and pair[:, :32].max() == 0 and pair[:, 32:].min() == 255
    square = side_by_side(black, white, 32, square=True)
    assert square.shape == (64, 64, 3)
    assert (square[:16] == GREY).all() and (square[48:] == GREY).all()
    assert (square[16:48] == pair).all()
