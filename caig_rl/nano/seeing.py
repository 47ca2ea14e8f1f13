"""The embedded backbone of reward models: the policy, whose vision tower learned to see scenes, alone and side by side. No clicks.

The policy's own pre-training looks at products mostly, and leaves its tower nearly blind to what is around them. Real policies come with
one that was pre-trained on captioned pictures; this one gets the same in small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from caig_rl.learning.pretrain.sft import SftExample, shuffled_epochs
from caig_rl.learning.train_task import Measured
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.models.reward.side_by_side import side_by_side
from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.policy import BATCH_SIZE, train_steps

HALF_SIZE = 32
"""Side of each picture of a pair, as a side-by-side reward model sees it."""


def teach_backbone(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    corpus: list[SftExample],
    steps: tuple[int, int],
    seed: int,
    progress: Progress,
) -> None:
    """Train vision tower and connector in place: `steps[0]` steps on single pictures, then `steps[1]` on singles and pairs alike."""
    teach_seeing(model, processor, corpus, steps[0], seed, progress)
    teach_seeing(model, processor, [*corpus[::2], *pictures_of_two(corpus[1::2])], steps[1], seed + 1, progress)


def pictures_of_two(corpus: list[SftExample]) -> list[SftExample]:
    """Each with its neighbour, side by side in one picture, the captions of both together."""
    return [
        SftExample(one.instruction, side_by_side(one.image, other.image, HALF_SIZE, square=True), f"{one.answer} {other.answer}")
        for one, other in zip(corpus, [*corpus[1:], corpus[0]], strict=True)
    ]


def teach_seeing(
    model: Idefics3ForConditionalGeneration,
    processor: Idefics3Processor,
    corpus: list[SftExample],
    steps: int,
    seed: int,
    progress: Progress,
) -> None:
    """Train vision tower and connector on the corpus' pictures and answers, in place."""
    torch.manual_seed(seed)
    examples = shuffled_epochs(corpus, seed + 3)
    train_steps(SeeingTask(model, processor), _plain_batches(examples), steps, 1e-3, seed, "seeing", progress)


class Seer(nn.Module):
    """Vision tower and connector of `model`, and a linear head from the mean of the picture's tokens to the vocabulary."""

    def __init__(self, model: Idefics3ForConditionalGeneration) -> None:
        super().__init__()
        self.vision_model, self.connector = model.model.vision_model, model.model.connector
        text = model.config.get_text_config()
        self.head = nn.Linear(text.hidden_size, text.vocab_size)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, height, width) to (B, vocabulary) log-probs of the words of a caption."""
        tokens = self.connector(self.vision_model(pixel_values=pictures).last_hidden_state)
        log_probs: torch.Tensor = self.head(tokens.mean(dim=1)).log_softmax(dim=-1)
        return log_probs


class SeeingTask:
    """From the picture alone to the bag of words of its caption (Joulin et al., Learning Visual Features from Large Weakly Supervised Data,
    ECCV 2016, section 3.2: softmax over words, cross-entropy to the caption's own, each counted alike)."""

    name = "seeing"

    def __init__(self, model: Idefics3ForConditionalGeneration, processor: Idefics3Processor) -> None:
        self.module, self._processor = Seer(model), processor

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All of the seer's."""
        return [{"params": list(self.module.parameters())}]

    def loss(self, engine: Any, batch: Sequence[SftExample], rng: np.random.Generator, epoch: int) -> torch.Tensor:
        """Nats per word of the answers."""
        log_probs = engine(
            encode_prompts(self._processor, [self._prompt] * len(batch), [one.image for one in batch]).pictures["pixel_values"][:, 0]
        )
        words = torch.zeros_like(log_probs)
        for row, ids in enumerate(self._processor.tokenizer([one.answer for one in batch], add_special_tokens=False)["input_ids"]):
            words[row, list(set(ids))] = 1.0
        return -(log_probs * words / words.sum(dim=1, keepdim=True)).sum(dim=1).mean()

    def begin_validation(self) -> None:
        """Nothing is gathered."""

    @torch.no_grad()
    def measure(self, engine: Any, batch: Sequence[SftExample]) -> Measured:
        """Nats per word."""
        return Measured(float(self.loss(engine, batch, np.random.default_rng(0), 0)), float(len(batch)))

    def export(self, folder: Path, rank: int) -> None:
        """Nothing: what is trained is part of a model that others write."""

    @property
    def _prompt(self) -> str:
        return chat_prompt(self._processor, "")


def _plain_batches(examples: Iterator[SftExample]) -> Iterator[list[SftExample]]:
    while True:
        yield list(islice(examples, BATCH_SIZE))
