"""Models without weights (meta device), and an attention that holds what a fused kernel holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import AutoModelForImageTextToText, CLIPTextConfig, CLIPTextModel, PreTrainedConfig, PreTrainedModel

from caig_rl.sizing.architectures import RENDERERS

_CLASSES = {cls.__name__: cls for cls in (UNet2DConditionModel, ControlNetModel, AutoencoderKL, AutoencoderTiny)}
_DEFAULT_CLASS = {"unet": "UNet2DConditionModel", "controlnet": "ControlNetModel", "vae": "AutoencoderKL"}


def hollow_language_model(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The image-text-to-text model of `config` on the meta device."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.eval()


def hollow_renderer(folder: Path | None, architecture: str | None, dtype: torch.dtype) -> dict[str, nn.Module] | None:
    """The networks of a diffusion pipeline on the meta device, by component; None where neither folder nor architecture is known."""
    if folder is not None and (folder / "model_index.json").is_file():
        described = {name: json.loads((folder / name / "config.json").read_text(encoding="utf-8")) for name in _components(folder)}
    elif architecture in RENDERERS:
        described = RENDERERS[architecture]()
    else:
        return None
    with torch.device("meta"), _silent_diffusers():
        return {name: _network(name, values).to(dtype).eval() for name, values in described.items()}


@contextmanager
def _silent_diffusers() -> Iterator[None]:
    """It warns of keys that some networks ignore, and that `to` casts what others keep in float32: neither changes a size here."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _components(folder: Path) -> list[str]:
    return [name for name in ("unet", "controlnet", "vae", "text_encoder") if (folder / name / "config.json").is_file()]


def _network(name: str, values: dict[str, Any]) -> nn.Module:
    if name == "text_encoder":
        return CLIPTextModel(CLIPTextConfig(**values))
    network: nn.Module = _CLASSES[values.get("_class_name", _DEFAULT_CLASS.get(name))].from_config(values)
    return network


class _Fused(torch.autograd.Function):
    """What a fused attention keeps for its backward pass: its inputs, its output, and one number a row. Never the L x L weights."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        return tuple(torch.empty_like(tensor) for tensor in (query, key, value))


@contextmanager
def fused_attention() -> Iterator[None]:
    """Inside, `scaled_dot_product_attention` on meta tensors counts like a fused kernel; torch would take its plain form there."""

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return _Fused.apply(query, key, value)

    functional: Any = torch.nn.functional
    plain = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain
