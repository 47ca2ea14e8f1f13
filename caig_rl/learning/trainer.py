"""One rank of a training job: epochs over batches, on the engine that the online learner uses too. Knows no cluster.

The one trainer of this project's supervised stages: `caig-rl pretrain` and `caig-rl reward train` run it under Ray Train, `caig-rl nano
build` and the benchmarks in their own process.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caig_rl.config.schema import LearnerConfig
from caig_rl.config.training import TrainJobConfig
from caig_rl.errors import UserError
from caig_rl.learning.engine import accumulation, build_engine, learning_rate, sum_over_ranks, take_step
from caig_rl.learning.engine_checkpoint import load_engine, save_engine
from caig_rl.learning.train_task import TrainTask, batch_rows, micro_batches
from caig_rl.logs import about

logger = logging.getLogger(__name__)

MAX_DROPPED_IN_A_ROW = 3
"""Steps in a row whose loss or gradient is no number, after which training stops."""


@dataclass(slots=True)
class Progress:
    """Where the job stands; the same on all ranks."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    dropped: int = 0
    """Steps dropped because their loss was no finite number on some rank, or their gradient."""
    examples: int = 0
    """Products or examples trained on in the last epoch, over all ranks."""
    train_loss: float = float("nan")
    validation_loss: float = float("nan")
    validation_accuracy: float = float("nan")
    """Share of the validation pairs with an order that the model puts in it; NaN for a task without pairs."""
    best_epoch: int = 0
    """0: none yet, or the trained model that the job began with."""
    best_loss: float = float("inf")
    stopped: str = ""
    """Why training ended before its last epoch: "", "patience" or "broken_steps"."""

    @property
    def is_sound(self) -> bool:
        """Whether the weights as they are can be gone on from: an epoch whose validation loss is no number leaves no checkpoint."""
        return math.isfinite(self.validation_loss)


def check_trained(progress: Progress) -> None:
    """Raise UserError where no epoch ended with a finite validation loss, so that there is no model."""
    if not math.isfinite(progress.best_loss):
        raise UserError(f"no epoch ended with a finite validation loss; {progress.dropped} steps had none. Lower the learning rate")


class Trainer:
    """Engine, schedule and count of one rank. `init_group` comes first; all ranks call alike, with equally many batches."""

    def __init__(self, task: TrainTask, config: TrainJobConfig, rank: int, total_steps: int, seed: int) -> None:
        """Build the engine over `task.module`; `total_steps` is the length of the learning rate's cosine."""
        self.progress, self.world_size = Progress(), config.workers
        self._task, self._config, self._rank, self._total_steps, self._seed = task, config, rank, total_steps, seed
        self._warmup, self._in_a_row = round(config.warmup_share * total_steps), 0
        share = max(config.batch_size // config.workers, 1)
        self._learner = LearnerConfig(
            world_size=config.workers,
            zero_stage=config.zero_stage,
            dtype=config.dtype,
            lr=config.lr,
            weight_decay=config.weight_decay,
            batch_size=share * config.workers,
            micro_batch_size=min(config.micro_batch_size or share, share),
        )
        self.engine = build_engine(task.module, task.parameter_groups(), self._learner)

    def run(
        self,
        training: Callable[[int], Iterable[Any]],
        validation: Callable[[], Iterable[Any]],
        on_best: Callable[[], None],
        on_epoch: Callable[[Progress], None] = lambda progress: None,
        begins_trained: bool = False,
    ) -> Progress:
        """Train the epochs that are left, until the last one or the early stop; returns where it ended.

        Args:
            training: the batches of an epoch, counted from 0.
            validation: the batches to stop by, the same each time.
            on_best: told after each epoch that is the best so far, the model still as it is.
            on_epoch: told after each epoch.
            begins_trained: the model as it comes may be the best, as epoch 0.
        """
        if begins_trained and self.progress.epoch == 0 and self.validate(validation()):
            on_best()
        while self.progress.epoch < self._config.epochs and not self.progress.stopped:
            with about(epoch=self.progress.epoch + 1):
                self.train_epoch(training(self.progress.epoch))
                if self.validate(validation()):
                    on_best()
                on_epoch(self.progress)
        return self.progress

    def train_epoch(self, batches: Iterable[Any]) -> None:
        """One pass; ends early after too many broken steps in a row."""
        sums = torch.zeros(3, dtype=torch.float64)
        for number, batch in enumerate(batches):
            if self.progress.stopped:
                continue  # the others' batches are read to the end, so that no rank waits for a reader that left
            rng = np.random.default_rng([self._seed, self.progress.epoch, self._rank, number])
            loss = self._step(batch, rng)
            if loss is not None:
                sums += torch.tensor([loss, 1.0, float(batch_rows(batch))], dtype=torch.float64)
        total, steps, examples = sum_over_ranks(sums).tolist()
        self.progress.epoch += 1
        self.progress.train_loss = total / steps if steps else float("nan")
        self.progress.examples = int(examples)

    def _step(self, batch: Any, rng: np.random.Generator) -> float | None:
        """Take one step and return its loss; None where it was dropped: the loss of some rank, or the gradient, is no finite number."""
        parts = micro_batches(batch, self._config.micro_batch_size)
        total, broken_ranks = 0.0, 0
        for index, part in enumerate(parts):
            with accumulation(self.engine, is_last=index == len(parts) - 1):
                loss = self._task.loss(self.engine, part, rng, self.progress.epoch)
                (broken,) = sum_over_ranks(torch.tensor([float(not torch.isfinite(loss.detach()))])).tolist()
                broken_ranks = max(broken_ranks, int(broken))
                share = batch_rows(part) / batch_rows(batch)
                # One that is broken anywhere breaks the gradient everywhere, so that the engine drops what the other parts left, too.
                self.engine.backward(loss * (float("nan") if broken else share))
                total += float(loss.detach()) * share
        norm = take_step(self.engine, learning_rate(self.progress.step, self._total_steps, self._learner, self._warmup))
        if not math.isfinite(norm):
            self._drop(f"its loss is no finite number on {broken_ranks} rank(s)" if broken_ranks else "its gradient is no finite number")
            return None
        self.progress.step += 1
        self._in_a_row = 0
        return total

    def _drop(self, why: str) -> None:
        self.progress.dropped += 1
        self._in_a_row += 1
        self.progress.stopped = "broken_steps" if self._in_a_row >= MAX_DROPPED_IN_A_ROW else ""
        logger.warning("a step was dropped: %s, %d so far", why, self.progress.dropped)

    @torch.no_grad()
    def validate(self, batches: Iterable[Any]) -> bool:
        """Measure the validation batches; True where this epoch is the best so far."""
        sums = torch.zeros(4, dtype=torch.float64)
        self._task.begin_validation()
        for part in (part for batch in batches for part in micro_batches(batch, self._config.micro_batch_size)):
            seen = self._task.measure(self.engine, part)
            sums += torch.tensor([seen.loss * seen.weight, seen.weight, seen.right, seen.told], dtype=torch.float64)
        loss_sum, weight, right, told = sum_over_ranks(sums).tolist()
        progress = self.progress
        progress.validation_loss = loss_sum / weight if weight else float("nan")
        progress.validation_accuracy = right / told if told else float("nan")
        is_best = bool(np.isfinite(progress.validation_loss)) and progress.validation_loss < progress.best_loss
        if is_best:
            progress.best_epoch, progress.best_loss = progress.epoch, progress.validation_loss
        elif not progress.stopped:
            progress.stopped = self._out_of_patience()
        logger.info(
            "%s epoch %d: train %.4f, validation %.4f", self._task.name, progress.epoch, progress.train_loss, progress.validation_loss
        )
        return is_best

    def save(self, folder: Path) -> None:
        """Write this rank's part of a checkpoint into `folder`, and where the job stands."""
        save_engine(self.engine, folder, self._rank, self._shape(), {"progress": asdict(self.progress)})

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint that `save` wrote for the same task, world size, ZeRO stage and kind of fine-tuning.

        Why it stopped is asked anew: broken steps may be sound at another learning rate, and patience may have grown.

        Raises:
            CheckpointError: none there, one cut short, or one of another shape.
        """
        self.progress = Progress(**load_engine(self.engine, folder, self._shape())["progress"])
        self.progress.stopped = self._out_of_patience()

    def _out_of_patience(self) -> str:
        return "patience" if self.progress.epoch - self.progress.best_epoch >= self._config.patience else ""

    def export(self, folder: Path) -> None:
        """Write the model as it is as a plain folder (by rank 0); all ranks call."""
        self._task.export(folder, self._rank)

    def _shape(self) -> dict[str, Any]:
        """What a checkpoint must agree in with the trainer that loads it."""
        config = self._config
        rank = config.lora_rank if config.finetune == "lora" else None
        return {"task": self._task.name, "world_size": config.workers, "zero_stage": config.zero_stage, "lora_rank": rank}
