"""Reward shaping: the formula, its limits, and what the ledger keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.prompt_model.model import PromptModel
from caig_rl.prompt_model.shaping import mixed, shape_rewards
from tests.prompt_model.shops import SURFACES, TRAP, catalog, scored_round


def test_shaped_rewards_are_the_formula_written_by_hand() -> None:
    shaped = mixed(np.array([1.0, 3.0]), np.array([0.5, 0.1]), np.array([0.0, 0.2]), 0.7, 0.8)
    assert shaped.own == pytest.approx((-1.0, 1.0))
    assert shaped.predicted == pytest.approx((0.2, -0.2))
    assert shaped.any_product == pytest.approx((-0.1, 0.1))
    assert shaped.shaped == pytest.approx((0.3 * -1.0 + 0.7 * 0.2 + 0.8 * 0.1, 0.3 * 1.0 - 0.7 * 0.2 - 0.8 * 0.1))


def test_refused_candidates_stay_out_of_every_mean() -> None:
    shaped = mixed(np.array([1.0, math.nan, 3.0]), np.array([0.5, 99.0, 0.1]), np.array([0.0, -99.0, 0.2]), 0.7, 0.8)
    small = mixed(np.array([1.0, 3.0]), np.array([0.5, 0.1]), np.array([0.0, 0.2]), 0.7, 0.8)
    assert [shaped.shaped[0], shaped.shaped[2]] == pytest.approx(list(small.shaped))
    assert all(math.isnan(numbers[1]) for numbers in (shaped.own, shaped.predicted, shaped.any_product, shaped.shaped))


def test_a_group_without_a_usable_candidate_is_all_nan() -> None:
    shaped = mixed(np.array([math.nan, math.nan]), np.zeros(2), np.zeros(2), 0.7, 0.8)
    assert all(math.isnan(value) for value in shaped.shaped)


def test_without_a_model_the_shaped_reward_is_the_own_one() -> None:
    shaped = shape_rewards(None, catalog()[0], ("a", "b"), (1.0, 3.0), 0.7, 0.8)
    assert shaped.shaped == shaped.own == (-1.0, 1.0)
    assert shaped.predicted == shaped.any_product == (0.0, 0.0)


def test_centring_takes_the_trap_s_worth_off() -> None:
    products, rng = catalog(), np.random.default_rng(3)
    model = PromptModel(ProductKinds.of(products))
    for _ in range(4):
        model.tell(scored_round(products, rng))
    texts = (f"on {SURFACES[1]}, {TRAP} behind", f"on {SURFACES[0]}, brick wall behind")
    plain, centred = (shape_rewards(model.effects(), products[0], texts, (0.3, 0.4), 0.7, share) for share in (0.0, 1.0))
    assert abs(plain.shaped[1] - plain.shaped[0]) < 0.25
    assert centred.shaped[1] - centred.shaped[0] > 0.35


@pytest.mark.parametrize(("model_share", "product_share", "name"), [(1.2, 0.0, "model_share"), (0.0, -0.1, "product_share")])
def test_shares_outside_zero_to_one_are_refused(model_share: float, product_share: float, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        shape_rewards(None, catalog()[0], ("a",), (0.0,), model_share, product_share)


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="1 prompts and 2 rewards"):
        shape_rewards(None, catalog()[0], ("a",), (0.0, 1.0), 0.7, 0.8)
