"""Stage A: supervised fine-tuning of the policy on instruction, picture, answer. Cross-entropy on the answer's tokens only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import ProcessorMixin

from caig_rl.learning.engine import gathered_copy
from caig_rl.learning.train_task import Measured
from caig_rl.models.answer_batch import AnswerBatch, collate_answers
from caig_rl.models.logprobs import AnswerLogProbs, batch_log_probs
from caig_rl.models.policy import merged_state_dict, save_policy_folder
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray

WINDOW_BATCHES = 16
"""Examples are sorted by length within this many batches: less padding, and still a fresh mix each time."""


@dataclass(frozen=True, slots=True)
class SftExample:
    """One example of stage A."""

    instruction: str
    image: ImageArray
    """(height, width, 3)."""
    answer: str


Examples = Callable[[Any, int | None], Sequence[SftExample]]
"""(batch as the trainer hands it over, epoch; None in validation) -> its examples."""


def as_they_are(batch: Sequence[SftExample], epoch: int | None) -> Sequence[SftExample]:
    """For batches that are examples already."""
    return batch


class SftTask:
    """The policy as the task of a `Trainer`."""

    name = "pretrain"

    def __init__(self, model: nn.Module, processor: ProcessorMixin, examples: Examples = as_they_are) -> None:
        """Train what asks for gradients of `model`, a policy with or without an adapter."""
        self.module, self.processor, self._examples = model, processor, examples

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All trained weights."""
        return [{"params": [weight for weight in self.module.parameters() if weight.requires_grad]}]

    def loss(self, engine: Any, batch: Any, rng: np.random.Generator, epoch: int) -> torch.Tensor:
        """Nats per answer token."""
        return sft_loss(engine, self.processor, self._examples(batch, epoch))

    def begin_validation(self) -> None:
        """Nothing is gathered."""

    def measure(self, engine: Any, batch: Any) -> Measured:
        """Nats per answer token, weighted by the tokens."""
        found = answers_log_probs(engine, self.processor, self._examples(batch, None))
        tokens = float(found.mask.sum())
        return Measured(-float(found.sums.sum()) / tokens, tokens)

    def export(self, folder: Path, rank: int) -> None:
        """Write a plain Hugging Face folder that transformers and vLLM load."""
        weights = merged_state_dict(self.module, gathered_copy)
        if rank == 0:
            save_policy_folder(self.module, self.processor, weights, folder)


def sft_loss(model: nn.Module, processor: ProcessorMixin, batch: Sequence[SftExample]) -> torch.Tensor:
    """Mean cross-entropy in nats over the batch's answer tokens, the end token included; a scalar with gradient."""
    found = answers_log_probs(model, processor, batch)
    return -found.sums.sum() / found.mask.sum()


def answers_log_probs(model: nn.Module, processor: ProcessorMixin, batch: Sequence[SftExample]) -> AnswerLogProbs:
    """Log-probs of the answers' tokens, the end token included."""
    return batch_log_probs(model, answer_batch(processor, batch))


def answer_batch(processor: ProcessorMixin, batch: Sequence[SftExample]) -> AnswerBatch:
    """Prompts, pictures and answers with their end token, ready for one forward pass."""
    prompts = [chat_prompt(processor, example.instruction) for example in batch]
    encoded = encode_prompts(processor, prompts, [example.image for example in batch])
    answers = answer_token_ids(processor, [example.answer for example in batch])
    return collate_answers(encoded, answers, processor)


def answer_token_ids(processor: ProcessorMixin, answers: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each answer, closed by the tokenizer's end token."""
    ids = processor.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    return [(*row, processor.tokenizer.eos_token_id) for row in ids]


def shuffled_epochs(examples: Sequence[SftExample], seed: int) -> Iterator[SftExample]:
    """Endless passes over `examples`, each in a new order."""
    generator = np.random.default_rng(seed)
    while True:
        for index in generator.permutation(len(examples)):
            yield examples[int(index)]


def batches_of_like_length(examples: Iterable[SftExample], batch_size: int, seed: int) -> Iterator[list[SftExample]]:
    """Full batches of examples of like length, in random order."""
    generator, rest = np.random.default_rng(seed), iter(examples)
    while window := list(islice(rest, batch_size * WINDOW_BATCHES)):
        window.sort(key=lambda example: len(example.instruction) + len(example.answer))
        starts = range(0, len(window) - batch_size + 1, batch_size)
        for start in generator.permutation(np.asarray(starts, dtype=np.int64)):
            yield window[int(start) : int(start) + batch_size]
