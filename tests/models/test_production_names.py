"""The production architectures, shrunk: the learner publishes names and shapes of the model's own checkpoint, which vLLM loads."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from caig_rl.models.policy import attach_lora, merged_state_dict
from caig_rl.sizing.architectures import LANGUAGE_MODELS
from tests.sizing.shrunk import shrunk


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_published_weights_have_the_names_of_the_checkpoint(name: str, tmp_path: Path):
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(shrunk(name), dtype=torch.float32)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as tensors:
        checkpoint = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118 (not a dict)
    published = merged_state_dict(attach_lora(model, rank=4, alpha=8))
    assert {key: tuple(value.shape) for key, value in published.items()} == checkpoint


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_adapter_sits_on_the_language_model_alone(name: str):
    model = attach_lora(AutoModelForImageTextToText.from_config(shrunk(name)), rank=4, alpha=8)
    trained = [key for key, value in model.named_parameters() if value.requires_grad]
    assert len(trained) == 2 * 7 * 4
    assert not any("vis" in key for key in trained)
