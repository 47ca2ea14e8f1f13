"""VAM and CG4CTR: round trip, and what each reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.errors import ModelFolderError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.encoders import EncoderReward, EncoderSpec, small_image_encoder, small_text_encoder
from caig_rl.models.reward.loading import load_reward
from caig_rl.types import Product
from tests.tiny import make_tokenizer, random_picture

MUG, SOAP = Product("a", "red mug", "kitchen"), Product("b", "a bottle of shampoo in a bathroom", "bathroom")


def make_encoder(kind: str, size: int = 64) -> EncoderReward:
    torch.manual_seed(0)
    spec = EncoderSpec(kind, image_size=size, tau=3.0)
    if kind == "vam":
        return EncoderReward(spec, small_image_encoder(size)).eval()
    tokenizer = make_tokenizer()
    return EncoderReward(spec, small_image_encoder(size), small_text_encoder(len(tokenizer)), tokenizer).eval()


@pytest.mark.parametrize("kind", ["vam", "cg4ctr"])
def test_a_saved_folder_is_loaded_by_its_kind_and_scores_the_same(kind: str, tmp_path: Path):
    model, creatives = make_encoder(kind), [random_picture(0, 128), random_picture(1)]
    model.save(tmp_path)
    loaded = load_reward(resolve_model_folder(str(tmp_path), "reward"))
    assert isinstance(loaded, EncoderReward) and loaded.spec == model.spec
    np.testing.assert_array_equal(loaded.score([MUG, SOAP], creatives), model.score([MUG, SOAP], creatives))


@pytest.mark.parametrize("kind", ["vam", "cg4ctr"])
def test_a_comparison_is_tau_times_the_difference_of_scores_in_any_batch(kind: str):
    model, creatives = make_encoder(kind), [random_picture(0), random_picture(1)]
    scores = model.score([MUG, SOAP], creatives, batch_size=1)
    expected = 3.0 * (scores - model.score([MUG, SOAP], creatives[::-1]))
    np.testing.assert_allclose(model.compare([MUG, SOAP], creatives, creatives[::-1]), expected, atol=1e-5)


def test_cg4ctr_reads_the_products_text_and_vam_does_not():
    picture = [random_picture(0)]
    assert make_encoder("cg4ctr").score([MUG], picture) != make_encoder("cg4ctr").score([SOAP], picture)
    assert make_encoder("vam").score([MUG], picture) == make_encoder("vam").score([SOAP], picture)


def test_encoders_that_do_not_fit_the_kind_are_refused():
    with pytest.raises(ValueError, match="CG4CTR needs a text encoder"):
        EncoderReward(EncoderSpec("cg4ctr", 64), small_image_encoder(64))


def test_an_unknown_kind_is_named(tmp_path: Path):
    make_encoder("vam").save(tmp_path)
    (tmp_path / "reward.json").write_text(json.dumps({"kind": "oracle", "image_size": 64}))
    with pytest.raises(ModelFolderError, match="names kind 'oracle'"):
        load_reward(tmp_path)
