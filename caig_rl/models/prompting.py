"""From instruction and picture to model inputs. vLLM and the learner read the same prompt string, so their token ids agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Idefics3Processor, ProcessorMixin

from caig_rl.types import ImageArray


@dataclass(frozen=True, slots=True)
class EncodedPrompts:
    """A batch of prompts, unpadded, with its pictures expanded to image tokens."""

    token_ids: list[list[int]]
    """One list a prompt."""
    pictures: dict[str, torch.Tensor]
    """What else the model's forward takes, `pixel_values` first of all, in the model's own shapes."""
    token_types: dict[str, list[list[int]]]
    """Per-token side inputs that some models take (`mm_token_type_ids`), as long as `token_ids`. Answers and padding get 0."""


def chat_prompt(processor: ProcessorMixin, instruction: str) -> str:
    """The prompt string of one user turn, a picture then `instruction`, that ends where the answer starts.

    Raises:
        ValueError: `instruction` holds one of the tokenizer's special tokens: it would be read as a picture or as the end of a turn.
    """
    intruders = [token for token in processor.tokenizer.all_special_tokens if token in instruction]
    if intruders:
        raise ValueError(
            f"the instruction {instruction[:80]!r} holds the special token {intruders[0]!r}; remove it from the product's text"
        )
    content = [{"type": "image"}, {"type": "text", "text": instruction}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert isinstance(prompt, str)
    return prompt


def encode_prompts(processor: ProcessorMixin, prompts: Sequence[str], images: Sequence[ImageArray]) -> EncodedPrompts:
    """Token ids and picture tensors of `prompts[i]`, a `chat_prompt`, over `images[i]` (height, width, 3).

    Raises:
        ValueError: as many prompts as images are needed.
    """
    if len(prompts) != len(images):
        raise ValueError(f"{len(prompts)} prompts for {len(images)} images")
    size = fixed_image_size(processor)
    if size is not None and all(image.shape == (size, size, 3) for image in images):
        return EncodedPrompts(_token_ids_at_fixed_size(processor, prompts), {"pixel_values": _pixels_at_fixed_size(processor, images)}, {})
    return _encode_by_processor(processor, prompts, images)


def fixed_image_size(processor: ProcessorMixin) -> int | None:
    """Side of the pictures for which this processor only rescales and normalises, so that a whole batch is one table look-up.

    None where there is no such size (pictures are split, or sized by their content).
    """
    if not isinstance(processor, Idefics3Processor) or processor.image_processor.do_image_splitting:
        return None
    side = processor.image_processor.max_image_size["longest_edge"]
    return int(side) if processor.image_processor.size["longest_edge"] == side and side * side >= 256 else None


def _encode_by_processor(processor: ProcessorMixin, prompts: Sequence[str], images: Sequence[ImageArray]) -> EncodedPrompts:
    batch = processor(
        text=list(prompts), images=[Image.fromarray(image) for image in images], padding=True, padding_side="right", return_tensors="pt"
    )
    lengths = batch.pop("attention_mask").sum(dim=1).tolist()
    token_ids = batch.pop("input_ids")
    types = {name: value for name, value in batch.items() if name.endswith("token_type_ids")}
    return EncodedPrompts(
        _cut(token_ids, lengths),
        {name: value for name, value in batch.items() if name not in types},
        {name: _cut(value, lengths) for name, value in types.items()},
    )


def _cut(padded: torch.Tensor, lengths: list[int]) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(padded, lengths, strict=True)]


def _token_ids_at_fixed_size(processor: ProcessorMixin, prompts: Sequence[str]) -> list[list[int]]:
    picture = processor.replace_image_token({"rows": [[0]], "cols": [[0]]}, 0)
    expanded = [prompt.replace(processor.image_token, picture) for prompt in prompts]
    return [list(ids) for ids in processor.tokenizer(expanded)["input_ids"]]


def _pixels_at_fixed_size(processor: ProcessorMixin, images: Sequence[ImageArray]) -> torch.Tensor:
    """(B, 1, 3, size, size) float32, equal to the processor's own values bit for bit."""
    table = _pixel_table(processor.image_processor)
    stacked = np.stack(images)
    planes = np.stack([table[channel][stacked[..., channel]] for channel in range(3)], axis=1)
    return torch.from_numpy(planes[:, None])


@lru_cache(maxsize=8)
def _pixel_table(image_processor: Any) -> np.ndarray:
    """(3, 256) float32: what the processor makes of each 8-bit value in each channel, asked of the processor itself."""
    side = int(image_processor.max_image_size["longest_edge"])
    probe = np.resize(np.arange(256, dtype=np.uint8), (side, side))
    values = image_processor(images=Image.fromarray(np.stack([probe] * 3, axis=-1)), return_tensors="np")["pixel_values"]
    return np.asarray(values, dtype=np.float32).reshape(3, -1)[:, :256]
