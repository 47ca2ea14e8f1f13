"""The scorer learns which creatives are clicked, from logs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel

from caig_rl.learning.reward import RewardReport, RewardRows, RewardSettings, pair_accuracy, product_batches, split_products, train_reward
from caig_rl.models.reward import RewardScorer, RewardSpec
from tests.tiny import make_processor, make_tiny_policy


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


def test_held_out_pairs_are_ranked_and_the_prior_found(tmp_path: Path) -> None:
    scorer = RewardScorer(AutoModel.from_pretrained(make_tiny_policy(tmp_path)), make_processor(), RewardSpec(image_size=64))
    seen: list[RewardReport] = []
    report = train_reward(scorer, make_rows(40, 5), RewardSettings(epochs=4, heldout_share=0.25), seen.append)
    assert report.heldout_accuracy > 0.75
    assert report.heldout_loss == min(epoch.heldout_loss for epoch in seen)
    assert scorer.spec.prior_logit == report.prior_logit
    assert scorer.spec.prior_logit == pytest.approx(-4.0, abs=0.5)


def test_no_product_is_both_trained_on_and_held_out() -> None:
    rows = make_rows(10, 3)
    training, heldout = split_products(rows.product_index, RewardSettings(heldout_share=0.3))
    assert len(heldout) == 3
    assert sorted([*training, *heldout]) == list(range(10))


def test_one_product_cannot_be_held_out_from_itself() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        split_products(make_rows(1, 5).product_index, RewardSettings())


def test_batches_hold_all_creatives_of_a_product_and_every_row_once() -> None:
    rows, settings = make_rows(10, 3), RewardSettings(batch_size=8)
    batches = list(product_batches(rows, np.arange(10), settings, 1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(30))
    products = [set(rows.product_index[batch].tolist()) for batch in batches]
    assert sum(len(batch) for batch in products) == 10


def test_pair_accuracy_counts_pairs_inside_products_only() -> None:
    scores = np.array([2.0, 1.0, 0.0, 5.0, 5.0], dtype=np.float32)
    ctr = np.array([0.02, 0.03, 0.01, 0.5, 0.4])
    # Product 0: right, right, wrong order; product 1: equal scores count half.
    accuracy, pairs = pair_accuracy(scores, ctr, np.array([0, 0, 0, 1, 1]))
    assert (accuracy, pairs) == (pytest.approx(2.5 / 4), 4)


def test_more_clicks_than_impressions_are_refused() -> None:
    rows = make_rows(4, 2, impressions=10)
    broken = RewardRows(rows.product_index, rows.product_texts, rows.images, rows.impressions, rows.impressions + 1)
    scorer = object.__new__(RewardScorer)
    with pytest.raises(ValueError, match="no more clicks than impressions"):
        train_reward(scorer, broken, RewardSettings())
