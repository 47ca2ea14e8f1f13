"""The one function that says how likely a policy finds an answer. Every objective, canary and monitor reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import ProcessorMixin

from caig_rl.models.prompting import EncodedPrompts, encode_prompts
from caig_rl.types import ImageArray


@dataclass(frozen=True, slots=True)
class AnswerLogProbs:
    """Natural-log probabilities of B answers, float32 (float64 where the model is)."""

    tokens: torch.Tensor
    """(B, T): each answer token given prompt, picture and the tokens before it, at temperature 1; 0 where `mask` is False."""
    mask: torch.Tensor
    """(B, T) bool: True on the answer's tokens."""

    @property
    def sums(self) -> torch.Tensor:
        """(B,): log pi(y | x), summed over the answer's tokens."""
        return self.tokens.sum(dim=1)


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """Right-padded sequences of prompt and answer, ready for one forward pass."""

    inputs: dict[str, torch.Tensor]
    """The model's keyword arguments: `input_ids` and `attention_mask` (B, L), and the pictures."""
    prompt_lengths: list[int]
    answers: torch.Tensor
    """(B, T) answer token ids, 0 behind their end."""
    mask: torch.Tensor
    """(B, T) bool: True on the answer's tokens."""


def answer_log_probs(
    model: nn.Module, processor: ProcessorMixin, prompts: Sequence[str], images: Sequence[ImageArray], answers: Sequence[tuple[int, ...]]
) -> AnswerLogProbs:
    """Log-probs of `answers[i]`, exact token ids, under `prompts[i]` (a `chat_prompt`) with `images[i]` (height, width, 3).

    One forward pass; the soft-max is taken in float32 at least, and at the answers' positions only. A row's result does not depend on its
    neighbours.

    Raises:
        ValueError: an empty answer, or lists of unequal length.
    """
    return batch_log_probs(model, collate_answers(encode_prompts(processor, prompts, images), answers, processor))


def collate_answers(encoded: EncodedPrompts, answers: Sequence[tuple[int, ...]], processor: ProcessorMixin) -> AnswerBatch:
    """Append each answer to its prompt and right-pad.

    Raises:
        ValueError: an empty answer, or as many answers as prompts are not given.
    """
    if len(answers) != len(encoded.token_ids):
        raise ValueError(f"{len(answers)} answers for {len(encoded.token_ids)} prompts")
    if not all(answers):
        raise ValueError(f"answer {[len(answer) for answer in answers].index(0)} has no tokens")
    rows = [[*ids, *answer] for ids, answer in zip(encoded.token_ids, answers, strict=True)]
    pad = processor.tokenizer.pad_token_id
    padding = int(pad) if pad is not None else 0
    inputs = {"input_ids": pad_token_rows(rows, padding), "attention_mask": pad_token_rows([[1] * len(row) for row in rows], 0)}
    length = inputs["input_ids"].shape[1]
    for name, values in encoded.token_types.items():
        inputs[name] = pad_token_rows([*values, [0] * length], 0)[:-1]
    return AnswerBatch(
        inputs={**inputs, **encoded.pictures},
        prompt_lengths=[len(ids) for ids in encoded.token_ids],
        answers=pad_token_rows([list(answer) for answer in answers], 0),
        mask=pad_token_rows([[1] * len(answer) for answer in answers], 0).bool(),
    )


def pad_token_rows(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """(B, L) int64: `rows` of unequal length, filled up with `value` on the right."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def batch_log_probs(model: nn.Module, batch: AnswerBatch) -> AnswerLogProbs:
    """`answer_log_probs` of an already collated batch. Pictures are cast to the model's dtype."""
    parameter = next(model.parameters())
    inputs = {name: _place(value, parameter) for name, value in batch.inputs.items()}
    starts = torch.tensor(batch.prompt_lengths, device=parameter.device)
    answers, mask = batch.answers.to(parameter.device), batch.mask.to(parameter.device)
    first = min(batch.prompt_lengths) - 1
    span = torch.arange(first, inputs["input_ids"].shape[1] - 1, device=parameter.device)
    output: Any = model(**inputs, use_cache=False, logits_to_keep=span)
    steps = (starts - 1 - first)[:, None] + torch.arange(answers.shape[1], device=parameter.device)
    steps = steps.clamp(max=len(span) - 1)
    rows = torch.arange(len(answers), device=parameter.device)[:, None]
    logits = output.logits[rows, steps]
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    tokens = log_probs.gather(-1, answers[..., None]).squeeze(-1)
    return AnswerLogProbs(tokens.masked_fill(~mask, 0.0), mask)


def _place(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    dtype = parameter.dtype if value.is_floating_point() else value.dtype
    return value.to(parameter.device, dtype)
