"""What a training job asks of the thing that it trains: a reward model on click logs, or the policy on its pre-training examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Measured:
    """One validation batch."""

    loss: float
    """Mean loss."""
    weight: float
    """What the mean is over: answer tokens, tests, or the weight of pairs."""
    right: float = 0.0
    """Pairs put in order; an undecided one counts half."""
    told: float = 0.0
    """Pairs that have an order."""


def batch_rows(batch: Any) -> int:
    """Products or examples in a batch: a list, or columns of equal length."""
    return len(next(iter(batch.values()))) if isinstance(batch, dict) else len(batch)


def micro_batches(batch: Any, size: int | None) -> list[Any]:
    """A batch in parts of at most `size` rows; None: whole."""
    if size is None:
        return [batch]
    parts = [slice(start, start + size) for start in range(0, batch_rows(batch), size)]
    return [{name: values[part] for name, values in batch.items()} if isinstance(batch, dict) else batch[part] for part in parts]


class TrainTask(Protocol):
    """Plain class, one a rank; every method is called on all ranks alike."""

    name: str
    """Names the job in its checkpoints: one of another task is refused."""
    module: nn.Module
    """What the engine holds; parameters that want no gradient are frozen."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trained parameters, for `build_engine`."""

    def loss(self, engine: Any, batch: Any, rng: np.random.Generator, epoch: int) -> torch.Tensor:
        """Mean loss of a training batch, with gradient, by one forward pass of `engine`, which stands for `module`. The mean over ranks is
        what is learned from."""

    def begin_validation(self) -> None:
        """A validation pass begins."""

    def measure(self, engine: Any, batch: Any) -> Measured:
        """Measure a validation batch, without gradient."""

    def export(self, folder: Path, rank: int) -> None:
        """Write the model as it is as a plain folder (by rank 0), a LoRA adapter merged in."""
