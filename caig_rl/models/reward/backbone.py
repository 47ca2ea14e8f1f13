"""What the reward models on a Hugging Face image-text-to-text backbone share: one forward pass, and the files of a reward folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoProcessor, PreTrainedModel, ProcessorMixin

from caig_rl.errors import ModelFolderError
from caig_rl.models.answer_batch import pad_token_rows
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray

HEAD_FILE = "reward_head.safetensors"
SPEC_FILE = "reward.json"
Spec = TypeVar("Spec")


def last_hidden(
    backbone: PreTrainedModel, processor: ProcessorMixin, texts: Sequence[str], views: Sequence[ImageArray], device: torch.device
) -> torch.Tensor:
    """(B, d) float32 hidden state of the last prompt token over picture `views[i]` (height, width, 3) and `texts[i]`, with gradient."""
    encoded = encode_prompts(processor, [chat_prompt(processor, text) for text in texts], views)
    inputs = {"input_ids": pad_token_rows(encoded.token_ids, 0)}
    inputs["attention_mask"] = pad_token_rows([[1] * len(ids) for ids in encoded.token_ids], 0)
    inputs |= {name: pad_token_rows(values, 0) for name, values in encoded.token_types.items()} | encoded.pictures
    dtype = backbone.dtype
    inputs = {name: value.to(device, dtype if value.is_floating_point() else value.dtype) for name, value in inputs.items()}
    hidden = backbone(**inputs, use_cache=False).last_hidden_state
    last = torch.tensor([len(ids) - 1 for ids in encoded.token_ids], device=device)
    state: torch.Tensor = hidden[torch.arange(len(last), device=device), last].float()
    return state


def load_backbone(folder: Path, dtype: torch.dtype, trust_remote_code: bool) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Backbone without a language head, and processor."""
    backbone = AutoModel.from_pretrained(folder, dtype=dtype, trust_remote_code=trust_remote_code, use_safetensors=True)
    return backbone, AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)


def read_spec(folder: Path, spec_class: type[Spec]) -> Spec:
    """What the folder says of itself in `reward.json`.

    Raises:
        ModelFolderError: a file of the reward's own is missing or broken.
    """
    for name in (HEAD_FILE, SPEC_FILE):
        if not (folder / name).is_file():
            raise ModelFolderError(f"reward model {folder}: {name} is missing")
    try:
        content = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
        return spec_class(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise ModelFolderError(f"reward model {folder}: {SPEC_FILE} cannot be read ({error})") from error


def write_spec(folder: Path, spec: Any) -> None:
    """Write `reward.json`."""
    assert is_dataclass(spec) and not isinstance(spec, type)
    (folder / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=2) + "\n", encoding="utf-8")


def save_heads(folder: Path, heads: nn.Module) -> None:
    """Write the weights of `heads` alone."""
    save_file({name: value.contiguous() for name, value in heads.state_dict().items()}, folder / HEAD_FILE)


def load_heads(folder: Path, heads: nn.Module) -> None:
    """Read what `save_heads` wrote.

    Raises:
        ModelFolderError: the weights do not fit.
    """
    try:
        heads.load_state_dict(load_file(folder / HEAD_FILE))
    except RuntimeError as error:
        raise ModelFolderError(f"reward model {folder}: {HEAD_FILE} does not fit the backbone ({error})") from error
