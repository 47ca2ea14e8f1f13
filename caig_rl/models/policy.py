"""The policy as the learner holds it: a Hugging Face image-text-to-text model, with or without a LoRA adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin
from transformers.core_model_loading import revert_weight_conversion

ADAPTER = "default"
"""peft's name of the one adapter."""
Fetch = Callable[[torch.Tensor], torch.Tensor]


def load_policy(
    folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Model (in evaluation mode: dropout would part the learner's log-probs from vLLM's) and processor of a checked model folder."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, trust_remote_code=trust_remote_code, use_safetensors=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return model.eval(), processor


def attach_lora(model: PreTrainedModel, rank: int, alpha: int) -> PeftModel:
    """Put a LoRA adapter on every linear layer of the language model and freeze the rest. The adapter starts as the identity."""
    targets = language_linear_names(model)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=targets)
    adapted = get_peft_model(model, config, adapter_name=ADAPTER)
    assert isinstance(adapted, PeftModel)
    return adapted.eval()


def language_linear_names(model: PreTrainedModel) -> list[str]:
    """Full module names of the linear layers inside the language model's decoder (not the vision tower, the connector, or the head)."""
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    return [f"{prefix}.{name}" for name, module in decoder.named_modules() if isinstance(module, nn.Linear)]


@contextmanager
def reference_mode(model: nn.Module) -> Iterator[None]:
    """Inside, a LoRA policy answers as its reference: the adapter is off.

    Raises:
        ValueError: the model has no adapter; full fine-tuning keeps a frozen copy instead.
    """
    if not isinstance(model, PeftModel):
        raise ValueError(f"{type(model).__name__} has no adapter to switch off")
    with model.disable_adapter():
        yield


def copy_to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """A detached copy in main memory, dtype kept."""
    return tensor.detach().to("cpu", copy=True)


def merged_state_dict(model: nn.Module, fetch: Fetch = copy_to_cpu) -> dict[str, torch.Tensor]:
    """The policy's weights with its adapter merged in, under the names that the base model's own checkpoint uses.

    Args:
        model: a plain model or one with a LoRA adapter.
        fetch: as in `merged_weights`.
    """
    return dict(revert_weight_conversion(base_model(model), merged_weights(model, fetch)))


def merged_weights(model: nn.Module, fetch: Fetch = copy_to_cpu) -> dict[str, torch.Tensor]:
    """The same weights under the names that the base model itself uses, as its `load_state_dict` takes them.

    Each merged weight is base + scale * B @ A, computed in float32 on copies and returned in the base weight's dtype: the live weights
    are not touched, so nothing drifts. Tied weights appear once, as `save_pretrained` writes them.

    Args:
        model: a plain Hugging Face model or one with a LoRA adapter.
        fetch: gives the full CPU copy of a live tensor. ZeRO-3 needs its own, which gathers; it is called in the same order on all ranks.
    """
    base = base_model(model)
    adapters = {name: module for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    merged: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in base.state_dict(keep_vars=True).items():
        if ".lora_" in name or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        owner, _, leaf = name.rpartition(".base_layer.")
        value = fetch(tensor)
        if leaf == "weight" and owner in adapters:
            value = (value.float() + _adapter_delta(adapters[owner], fetch)).to(value.dtype)
        merged[f"{owner}.{leaf}" if owner else name] = value
    return merged


def base_model(model: nn.Module) -> PreTrainedModel:
    """The Hugging Face model under an adapter, or the model itself."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(inner, PreTrainedModel)
    return inner


def save_policy_folder(model: nn.Module, processor: ProcessorMixin, state_dict: dict[str, torch.Tensor], folder: Path) -> None:
    """Write a plain Hugging Face folder (config, safetensors, processor) that transformers and vLLM load. `state_dict` is the merged
    one."""
    folder.mkdir(parents=True, exist_ok=True)
    base = base_model(model)
    base.config.save_pretrained(folder)
    if base.generation_config is not None:
        base.generation_config.save_pretrained(folder)
    save_torch_state_dict(state_dict, folder)
    processor.save_pretrained(folder)


def _adapter_delta(layer: Any, fetch: Fetch) -> torch.Tensor:
    down, up = fetch(layer.lora_A[ADAPTER].weight).float(), fetch(layer.lora_B[ADAPTER].weight).float()
    return layer.scaling[ADAPTER] * (up @ down)
