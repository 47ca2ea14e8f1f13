"""Each form learns from logs alone which of two creatives is clicked more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from caig_rl.learning.reward import RewardRows, pair_accuracy
from caig_rl.learning.reward_baselines import BaselineSettings, train_cg4ctr, train_side_by_side, train_vam
from caig_rl.learning.reward_loop import LoopSettings
from caig_rl.models.reward_model import RewardModel
from caig_rl.models.reward_side_by_side import SideBySideReward, SideBySideSpec
from caig_rl.types import Product
from tests.learning.test_reward import make_rows
from tests.models.test_reward_encoders import make_encoder
from tests.tiny import make_processor, make_tiny_policy

TRAINING, VALIDATION, HELDOUT = np.arange(40), np.arange(40, 50), np.arange(50, 70)


def _accuracy(model: RewardModel, rows: RewardRows) -> float:
    inside = np.isin(rows.product_index, HELDOUT)
    products = [Product(str(index), f"mug {index}", "kitchen") for index in rows.product_index[inside]]
    scores = model.score(products, [image for image, held in zip(rows.images, inside, strict=True) if held])
    return pair_accuracy(scores, rows.clicks[inside] / rows.impressions[inside], rows.product_index[inside])[0]


@pytest.fixture(scope="module")
def rows() -> RewardRows:
    return make_rows(70, 4)


def test_the_side_by_side_form_learns_the_order_and_normalises_ctrs(rows: RewardRows, tmp_path: Path):
    torch.manual_seed(0)
    spec = SideBySideSpec(creative_size=32, text_template="{title}")  # the text that `make_rows` trains with
    model = SideBySideReward(AutoModel.from_pretrained(make_tiny_policy(tmp_path)), make_processor(), spec)
    train_side_by_side(model, rows, TRAINING, VALIDATION, BaselineSettings(LoopSettings(epochs=10, lr=2e-3)))
    assert _accuracy(model, rows) > 0.75
    inside = np.isin(rows.product_index, TRAINING)
    assert model.spec.ctr_mean == pytest.approx((rows.clicks / rows.impressions)[inside].mean())


@pytest.fixture(scope="module")
def small_rows(rows: RewardRows) -> RewardRows:
    """The same logs with pictures of 32 px, which the encoders read four times as fast."""
    return dataclasses.replace(rows, images=[image[:32, :32] for image in rows.images])


def test_vam_learns_the_order_from_lists_and_reads_off_its_scale(small_rows: RewardRows):
    model = make_encoder("vam", 32)
    train_vam(model, small_rows, TRAINING, VALIDATION, BaselineSettings(LoopSettings(epochs=8, lr=2e-3), batch_size=8))
    assert _accuracy(model, small_rows) > 0.75
    assert model.spec.tau > 0.0


def test_cg4ctr_learns_the_order_from_pairs(small_rows: RewardRows):
    model = make_encoder("cg4ctr", 32)
    train_cg4ctr(model, small_rows, TRAINING, VALIDATION, BaselineSettings(LoopSettings(epochs=5, lr=2e-3)))
    assert _accuracy(model, small_rows) > 0.75


def test_a_policy_that_keeps_nothing_says_so(tmp_path: Path):
    rows = make_rows(8, 1)
    with pytest.raises(ValueError, match="keeps 0 pairs"):
        train_cg4ctr(make_encoder("cg4ctr"), rows, np.arange(6), np.arange(6, 8), BaselineSettings())
    with pytest.raises(ValueError, match="0 products to train on"):
        train_vam(make_encoder("vam"), rows, np.arange(6), np.arange(6, 8), BaselineSettings())
