"""The per-image scorer: round trip, batching, and scores that cannot be computed."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from caig_rl.data.instructions import Task, instruction
from caig_rl.errors import ModelFolderError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.scorer import RewardError, RewardScorer, RewardSpec
from caig_rl.types import Product
from tests.tiny import make_processor, make_tiny_policy, random_picture

PRODUCTS = [
    Product("a", "red mug", "kitchen"),
    Product("b", "soap", "bathroom"),
    Product("c", "a very long title of a lamp", "living room"),
]


@pytest.fixture
def scorer(tmp_path: Path) -> RewardScorer:
    backbone = AutoModel.from_pretrained(make_tiny_policy(tmp_path / "backbone"))
    torch.manual_seed(0)
    return RewardScorer(backbone, make_processor(), RewardSpec(image_size=64, prior_logit=-3.0)).eval()


def test_scores_do_not_depend_on_the_batch(scorer: RewardScorer) -> None:
    creatives = [random_picture(seed, 128) for seed in range(3)]
    together = scorer.score(PRODUCTS, creatives)
    assert together.dtype == np.float32
    assert together == pytest.approx(scorer.score(PRODUCTS, creatives, batch_size=1), abs=1e-5)
    assert len(set(together.tolist())) == 3


def test_a_saved_folder_passes_the_check_and_scores_the_same(scorer: RewardScorer, tmp_path: Path) -> None:
    creatives = [random_picture(seed) for seed in range(3)]
    scorer.save(tmp_path / "reward")
    loaded = RewardScorer.load(resolve_model_folder(str(tmp_path / "reward"), "reward"))
    assert np.array_equal(loaded.score(PRODUCTS, creatives), scorer.score(PRODUCTS, creatives))
    assert loaded.spec == scorer.spec


def test_the_backbone_is_asked_what_reading_practice_taught_it_to_answer(scorer: RewardScorer) -> None:
    product = PRODUCTS[0]
    asked = {instruction(Task.CONTENT_UNDERSTANDING, product, seed) for seed in range(60)}
    assert len(asked) == 10
    assert scorer.text_of(product) in asked


def test_a_folder_keeps_the_wording_that_it_was_trained_with(scorer: RewardScorer, tmp_path: Path) -> None:
    scorer.spec = replace(scorer.spec, text_template="{title} ({category})")
    scorer.save(tmp_path / "old")
    assert RewardScorer.load(tmp_path / "old").text_of(PRODUCTS[0]) == "red mug (kitchen)"
    shipped = RewardScorer.load(resolve_model_folder("nano", "reward"))
    written = json.loads((resolve_model_folder("nano", "reward") / "reward.json").read_text())
    assert shipped.spec.text_template == written["text_template"]


def test_a_score_that_is_not_finite_is_an_error_that_names_the_product(scorer: RewardScorer) -> None:
    scorer.head.bias.data.fill_(float("nan"))
    with pytest.raises(RewardError, match="product") as caught:
        scorer.score(PRODUCTS[:2], [random_picture(0), random_picture(1)])
    assert caught.value.product_ids == ("a", "b")
    assert pickle.loads(pickle.dumps(caught.value)).product_ids == ("a", "b")


def test_the_ctr_of_an_unseen_product_starts_from_the_prior(scorer: RewardScorer) -> None:
    assert scorer.ctr(np.zeros(1, dtype=np.float32))[0] == pytest.approx(1 / (1 + np.exp(3.0)))


def test_a_missing_head_or_a_broken_description_is_named(scorer: RewardScorer, tmp_path: Path) -> None:
    folder = tmp_path / "reward"
    scorer.save(folder)
    (folder / "reward.json").write_text(json.dumps({"image_size": 64, "colour": "red"}))
    with pytest.raises(ModelFolderError, match=r"reward\.json cannot be read"):
        RewardScorer.load(folder)
    (folder / "reward_head.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"reward_head\.safetensors is missing"):
        RewardScorer.load(folder)
