"""Stage A: supervised fine-tuning of the policy on instruction, picture, answer. Cross-entropy on the answer's tokens only."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import nn
from transformers import ProcessorMixin

from caig_rl.models.logprobs import batch_log_probs, collate_answers
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray

logger = logging.getLogger(__name__)

WINDOW_BATCHES = 16
"""Examples are sorted by length within this many batches: less padding, and still a fresh mix each time."""


@dataclass(frozen=True, slots=True)
class SftExample:
    """One example of stage A."""

    instruction: str
    image: ImageArray
    """(height, width, 3)."""
    answer: str


@dataclass(frozen=True, slots=True)
class SftSettings:
    """How long and how fast."""

    steps: int
    batch_size: int = 64
    lr: float = 1e-3
    min_lr_ratio: float = 0.05
    """Learning rate at the end of the cosine, as a share of `lr`."""
    warmup_steps: int = 50
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    seed: int = 0
    log_every: int = 50


@dataclass(frozen=True, slots=True)
class SftProgress:
    """Where the training stands."""

    step: int
    loss: float
    """Nats per answer token, mean since the last report."""
    lr: float
    examples_per_s: float
    """Since the last report."""


def shuffled_epochs(examples: Sequence[SftExample], seed: int) -> Iterator[SftExample]:
    """Endless passes over `examples`, each in a new order."""
    generator = np.random.default_rng(seed)
    while True:
        for index in generator.permutation(len(examples)):
            yield examples[int(index)]


def train_sft(
    model: nn.Module,
    processor: ProcessorMixin,
    examples: Iterable[SftExample],
    settings: SftSettings,
    on_progress: Callable[[SftProgress], None] | None = None,
) -> SftProgress:
    """Train all weights of `model` that ask for gradients, in place, for `settings.steps` steps of AdamW. Returns the last progress.

    Raises:
        ValueError: `examples` run out before the steps do.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings))
    batches = _batches(iter(examples), settings)
    losses: list[float] = []
    started, progress = time.perf_counter(), SftProgress(0, math.nan, settings.lr, 0.0)
    model.train()
    for step in range(1, settings.steps + 1):
        batch = next(batches, None)
        if batch is None:
            raise ValueError(f"the examples ran out after {step - 1} of {settings.steps} steps of {settings.batch_size}")
        loss = sft_loss(model, processor, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.grad_clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % settings.log_every == 0 or step == settings.steps:
            rate = len(losses) * settings.batch_size / (time.perf_counter() - started)
            progress = SftProgress(step, float(np.mean(losses)), schedule.get_last_lr()[0], rate)
            logger.info("sft step %d/%d loss %.4f, %.0f examples/s", step, settings.steps, progress.loss, rate)
            if on_progress is not None:
                on_progress(progress)
            losses, started = [], time.perf_counter()
    model.eval()
    return progress


def sft_loss(model: nn.Module, processor: ProcessorMixin, batch: Sequence[SftExample]) -> torch.Tensor:
    """Mean cross-entropy in nats over the batch's answer tokens, the end token included; a scalar with gradient."""
    prompts = [chat_prompt(processor, example.instruction) for example in batch]
    encoded = encode_prompts(processor, prompts, [example.image for example in batch])
    answers = answer_token_ids(processor, [example.answer for example in batch])
    log_probs = batch_log_probs(model, collate_answers(encoded, answers, processor))
    return -log_probs.sums.sum() / log_probs.mask.sum()


def answer_token_ids(processor: ProcessorMixin, answers: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each answer, closed by the tokenizer's end token."""
    ids = processor.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    return [(*row, processor.tokenizer.eos_token_id) for row in ids]


def learning_rate_factor(step: int, settings: SftSettings) -> float:
    """Linear warm-up, then half a cosine from 1 down to `min_lr_ratio`."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    return settings.min_lr_ratio + (1.0 - settings.min_lr_ratio) * cosine


def _batches(examples: Iterator[SftExample], settings: SftSettings) -> Iterator[list[SftExample]]:
    """Full batches of examples of like length, in random order."""
    generator = np.random.default_rng(settings.seed)
    while window := list(islice(examples, settings.batch_size * WINDOW_BATCHES)):
        window.sort(key=lambda example: len(example.instruction) + len(example.answer))
        starts = range(0, len(window) - settings.batch_size + 1, settings.batch_size)
        for start in generator.permutation(np.asarray(starts, dtype=np.int64)):
            yield window[int(start) : int(start) + settings.batch_size]
