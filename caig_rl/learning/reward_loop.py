"""The loop that trains any reward model: AdamW with one rise and fall of the learning rate, the best epoch kept, broken steps dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

logger = logging.getLogger(__name__)

MAX_DROPPED_IN_A_ROW = 3
"""Steps in a row whose loss is no number, after which training stops."""
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how fast."""

    epochs: int = 8
    lr: float = 1e-3
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    patience: int | None = None
    """Epochs without a lower validation loss, after which training stops; None: all epochs run."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass came to."""

    number: int
    """From 1."""
    train_loss: float
    """Mean over the steps that were taken; NaN where none was."""
    validation_loss: float
    dropped: int
    """Steps dropped so far, because their loss or gradient was no finite number."""


def train_loop(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Callable[[Batch], torch.Tensor],
    validation_loss: Callable[[], float],
    settings: LoopSettings,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Epoch:
    """Train `model` in place; it ends in evaluation mode with the weights of the epoch of the lowest validation loss, which is returned.

    A step whose loss or gradient is not finite changes nothing and is counted; three in a row end the training at the best epoch so far.

    Args:
        model: what is trained; all its parameters that require a gradient.
        batches: the batches of an epoch, numbered from 1; epoch 0 is asked once, to count the steps.
        loss_of: mean loss of a batch, with gradient.
        validation_loss: of the model as it is, in evaluation mode, without gradient.
        settings: how long and how fast.
        on_epoch: told each finished epoch.

    Raises:
        FloatingPointError: training stopped before one epoch gave a finite validation loss.
    """
    stepper = _Stepper(model, settings, settings.epochs * sum(1 for _ in batches(0)))
    best: Epoch | None = None
    weights: dict[str, torch.Tensor] = {}
    for number in range(1, settings.epochs + 1):
        model.train()
        losses = [value for batch in batches(number) if not stepper.has_stopped and (value := stepper.step(loss_of(batch))) is not None]
        model.eval()
        with torch.no_grad():
            epoch = Epoch(number, float(np.mean(losses)) if losses else float("nan"), validation_loss(), stepper.dropped)
        logger.info(
            "epoch %d: train %.4f, validation %.4f, %d steps dropped", number, epoch.train_loss, epoch.validation_loss, epoch.dropped
        )
        on_epoch(epoch)
        if np.isfinite(epoch.validation_loss) and (best is None or epoch.validation_loss < best.validation_loss):
            best, weights = epoch, {name: value.clone() for name, value in model.state_dict().items()}
        is_late = best is not None and settings.patience is not None and number - best.number >= settings.patience
        if stepper.has_stopped or is_late:
            break
    if best is None:
        raise FloatingPointError(f"no epoch ended with a finite validation loss; {stepper.dropped} steps had none. Lower the learning rate")
    model.load_state_dict(weights)
    return best


class _Stepper:
    """Optimiser, schedule, and the count of dropped steps."""

    def __init__(self, model: nn.Module, settings: LoopSettings, total_steps: int) -> None:
        self.dropped = 0
        self._in_a_row = 0
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._clip = settings.grad_clip
        self._optimizer = torch.optim.AdamW(self._parameters, lr=settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.lr, total_steps=max(total_steps, 2), pct_start=0.1, cycle_momentum=False
        )

    @property
    def has_stopped(self) -> bool:
        """True after too many dropped steps in a row."""
        return self._in_a_row >= MAX_DROPPED_IN_A_ROW

    def step(self, loss: torch.Tensor) -> float | None:
        """Take one step; the loss, or None where the step was dropped."""
        self._optimizer.zero_grad(set_to_none=True)
        if bool(torch.isfinite(loss)):
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)
            if bool(torch.isfinite(norm)):
                self._optimizer.step()
                self._schedule.step()
                self._in_a_row = 0
                return float(loss.item())
        self.dropped += 1
        self._in_a_row += 1
        logger.warning("a step was dropped: its loss or gradient is no finite number (%d so far)", self.dropped)
        return None
