"""Adapter, reference and merged weights of the policy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import ProcessorMixin

from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.policy import attach_lora, language_linear_names, load_policy, merged_state_dict, reference_mode, save_policy_folder
from caig_rl.models.prompting import chat_prompt
from tests.tiny import make_tiny_policy, random_picture

ANSWER = (60, 61, 62, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_policy(tmp_path / "policy")


def trained(folder: Path) -> tuple[PeftModel, ProcessorMixin]:
    """A policy whose adapter says something."""
    base, processor = load_policy(folder)
    model = attach_lora(base, rank=4, alpha=8)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model, processor


@torch.no_grad()
def answer_sum(model: torch.nn.Module, processor: ProcessorMixin) -> float:
    return answer_log_probs(model, processor, [chat_prompt(processor, "a red mug")], [random_picture(0)], [ANSWER]).sums.item()


def test_a_fresh_adapter_changes_nothing_and_only_it_is_trained(folder: Path) -> None:
    base, processor = load_policy(folder)
    before = answer_sum(base, processor)
    model = attach_lora(base, rank=4, alpha=8)
    assert answer_sum(model, processor) == before
    assert all("lora_" in name for name, parameter in model.named_parameters() if parameter.requires_grad)


def test_the_adapter_sits_on_the_language_model_alone(folder: Path) -> None:
    names = language_linear_names(load_policy(folder)[0])
    assert len(names) == 2 * 7
    assert all(name.startswith("model.text_model.layers.") for name in names)


def test_the_reference_is_the_policy_with_its_adapter_off(folder: Path) -> None:
    base = answer_sum(*load_policy(folder))
    model, processor = trained(folder)
    assert abs(answer_sum(model, processor) - base) > 0.01
    with reference_mode(model):
        assert answer_sum(model, processor) == base
    assert abs(answer_sum(model, processor) - base) > 0.01


def test_a_model_without_adapter_has_no_reference_mode(folder: Path) -> None:
    with pytest.raises(ValueError, match="no adapter"), reference_mode(load_policy(folder)[0]):
        pass


def test_merged_weights_bear_the_names_and_shapes_of_the_base_checkpoint(folder: Path) -> None:
    merged = merged_state_dict(trained(folder)[0])
    checkpoint = load_file(folder / "model.safetensors")
    assert {name: value.shape for name, value in merged.items()} == {name: value.shape for name, value in checkpoint.items()}


def test_a_merged_folder_answers_like_the_live_policy(folder: Path, tmp_path: Path) -> None:
    model, processor = trained(folder)
    save_policy_folder(model, processor, merged_state_dict(model), tmp_path / "merged")
    assert answer_sum(*load_policy(tmp_path / "merged")) == pytest.approx(answer_sum(model, processor), abs=1e-4)


def test_merging_leaves_the_live_weights_bit_identical(folder: Path) -> None:
    model, _ = trained(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for value in merged_state_dict(model).values():
        value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
