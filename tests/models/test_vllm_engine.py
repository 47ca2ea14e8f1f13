"""The real vLLM engine over a random tiny policy: it agrees with transformers, and takes new weights exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from caig_rl.config.schema import PolicyConfig
from caig_rl.errors import ModelFolderError
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.vllm_engine import PolicyEngine, WeightsError, check_weights
from tests.tiny import make_tiny_policy, random_picture

CONFIG = PolicyConfig(max_tokens=12, max_model_len=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[PolicyEngine]:
    running = PolicyEngine(folder, CONFIG, threads=1)
    yield running
    running.close()


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_log_probs_of_sampled_tokens_agree_with_transformers(engine: PolicyEngine, folder: Path) -> None:
    prompts = [engine.prompt("describe a background for the mug"), engine.prompt("a table")]
    images = [random_picture(1), random_picture(2)]
    groups = engine.generate(prompts, images, [11, 12], 2)
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    for prompt, image, group in zip(prompts, images, groups, strict=True):
        for rollout in group:
            learner = answer_log_probs(model, processor, [prompt], [image], [rollout.token_ids]).tokens[0].detach().numpy()
            np.testing.assert_allclose(rollout.logprobs, learner, atol=1e-4)


def test_the_picture_token_is_never_sampled(engine: PolicyEngine, folder: Path) -> None:
    picture = AutoProcessor.from_pretrained(folder).image_token_id
    rollouts = engine.generate([engine.prompt("a mug")], [random_picture(1)], [0], 64)[0]
    assert len({token for rollout in rollouts for token in rollout.token_ids}) > 200
    assert all(picture not in rollout.token_ids for rollout in rollouts)


def test_scoring_given_tokens_agrees_with_sampling_them(engine: PolicyEngine) -> None:
    prompt, image = engine.prompt("a red mug"), random_picture(3)
    rollout = engine.generate([prompt], [image], [5], 1)[0][0]
    np.testing.assert_allclose(engine.log_probs(prompt, image, rollout.token_ids), rollout.logprobs, atol=1e-4)


def test_a_seed_gives_the_same_answers_alone_and_in_a_batch(engine: PolicyEngine) -> None:
    prompts, images = [engine.prompt(f"mug {i}") for i in range(4)], [random_picture(i) for i in range(4)]
    together = engine.generate(prompts, images, [100, 200, 300, 400], 2)
    alone = engine.generate(prompts[2:3], images[2:3], [300], 2)
    assert [rollout.token_ids for rollout in together[2]] == [rollout.token_ids for rollout in alone[0]]
    assert together[0][0].token_ids != together[0][1].token_ids


def test_seeded_requests_may_hold_more_tokens_together_than_one_batch(engine: PolicyEngine) -> None:
    prompt, image = engine.prompt("a mug " * 12), random_picture(7)
    seeds = [1000 * index for index in range(200)]
    answers = engine.generate([prompt] * len(seeds), [image] * len(seeds), seeds, 1)
    assert len({answer[0].token_ids for answer in answers}) > 150
    assert answers[-1][0].token_ids == engine.generate([prompt], [image], seeds[-1:], 1)[0][0].token_ids


def test_new_weights_change_the_log_probs_and_the_old_ones_bring_them_back(engine: PolicyEngine, folder: Path) -> None:
    prompt, image, tokens = engine.prompt("a mug"), random_picture(4), engine.encode("wooden table")
    before = engine.log_probs(prompt, image, tokens)
    moved = {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))
        for name, tensor in _weights(folder).items()
    }
    engine.load_weights(moved)
    assert np.abs(np.subtract(engine.log_probs(prompt, image, tokens), before)).max() > 1e-3
    engine.load_weights(_weights(folder))
    assert engine.log_probs(prompt, image, tokens) == before


def test_a_dropped_tensor_is_named_and_the_old_weights_stay(engine: PolicyEngine, folder: Path) -> None:
    prompt, image, tokens = engine.prompt("a mug"), random_picture(4), engine.encode("wooden table")
    before = engine.log_probs(prompt, image, tokens)
    weights = {name: torch.zeros_like(tensor) for name, tensor in _weights(folder).items()}
    dropped = sorted(weights)[3]
    del weights[dropped]
    with pytest.raises(WeightsError, match=dropped.replace(".", r"\.")):
        engine.load_weights(weights)
    assert engine.log_probs(prompt, image, tokens) == before


def test_weights_of_another_shape_or_name_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"'a' has shape \(2,\)"):
        check_weights({"a": torch.zeros(2)}, {"a": (3,)})
    with pytest.raises(WeightsError, match="'b' is not one of"):
        check_weights({"a": torch.zeros(3), "b": torch.zeros(1)}, {"a": (3,)})


def test_requests_of_unequal_number_are_refused(engine: PolicyEngine) -> None:
    with pytest.raises(ValueError, match="1 prompts, 2 images"):
        engine.generate([engine.prompt("a mug")], [random_picture(0), random_picture(1)], [1], 1)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"model\*\.safetensors"):
        PolicyEngine(tmp_path, CONFIG, threads=1)
