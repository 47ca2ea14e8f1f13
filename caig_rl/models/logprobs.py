"""The one function that says how likely a policy finds an answer. Every objective, canary and monitor reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import ProcessorMixin

from caig_rl.models.answer_batch import AnswerBatch, collate_answers
from caig_rl.models.prompting import encode_prompts
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


def batch_log_probs(model: nn.Module, batch: AnswerBatch) -> AnswerLogProbs:
    """`answer_log_probs` of an already collated batch. Pictures are cast to the model's dtype."""
    parameter = next(model.parameters())
    inputs = {name: _place(value, parameter) for name, value in batch.inputs.items()}
    answers, mask = batch.answers.to(parameter.device), batch.mask.to(parameter.device)
    first, last = int(batch.steps.min()), int(batch.steps.max())
    output: Any = model(**inputs, use_cache=False, logits_to_keep=torch.arange(first, last + 1, device=parameter.device))
    logits = output.logits[batch.rows[:, None].to(parameter.device), (batch.steps - first).to(parameter.device)]
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    tokens = log_probs.gather(-1, answers[..., None]).squeeze(-1)
    return AnswerLogProbs(tokens.masked_fill(~mask, 0.0), mask)


def _place(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    dtype = parameter.dtype if value.is_floating_point() else value.dtype
    return value.to(parameter.device, dtype)
