"""One rank of a reward training job: epochs over batches of tests, on the engine that the online learner uses too. Knows no cluster."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.config.schema import LearnerConfig
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import build_engine, gathered_copy, learning_rate, sum_over_ranks, take_step
from caig_rl.learning.reward import RewardRows
from caig_rl.learning.reward_loop import MAX_DROPPED_IN_A_ROW
from caig_rl.learning.reward_objective import LogFacts, Trainee, batch_loss, new_model, rows_of_groups
from caig_rl.learning.reward_pairs import FloatArray, all_pairs, fit_tau
from caig_rl.models.reward import RewardScorer
from caig_rl.models.reward_encoders import EncoderReward
from caig_rl.models.reward_side_by_side import SideBySideReward
from caig_rl.types import ImageArray

logger = logging.getLogger(__name__)

TAG = "reward"
STATE = "reward_state.json"
Groups = Mapping[str, Sequence[Any]]
"""A batch of `GROUP_SCHEMA` columns."""


@dataclass(slots=True)
class Progress:
    """Where the job stands; the same on all ranks."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    dropped: int = 0
    """Steps dropped because their loss was no finite number on some rank."""
    tests: int = 0
    """Tests trained on in the last epoch, over all ranks."""
    train_loss: float = float("nan")
    validation_loss: float = float("nan")
    validation_accuracy: float = float("nan")
    """Share of the validation pairs with an order that the model puts in it."""
    best_epoch: int = 0
    best_loss: float = float("inf")
    stopped: str = ""
    """Why training ended before its last epoch: "", "patience" or "broken_steps"."""


class RewardTrainer:
    """Holds model and engine of one rank. `init_group` comes first; all ranks call alike, with equally many batches."""

    def __init__(
        self, config: RewardTrainConfig, clicks: ClicksConfig, facts: LogFacts, backbone: Path, rank: int, total_steps: int, seed: int
    ) -> None:
        self.progress = Progress()
        self._config, self._clicks, self._facts = config, clicks, facts
        self._rank, self._total_steps, self._seed = rank, total_steps, seed
        self._backbone, self._in_a_row = backbone, 0
        self._seen: list[tuple[FloatArray, FloatArray]] = []
        # New heads must be the same on all ranks and at every start.
        torch.manual_seed(seed)
        self.model = new_model(config, backbone, facts)
        self._learner = LearnerConfig(
            world_size=config.workers,
            zero_stage=config.zero_stage,
            dtype=config.dtype,
            lr=config.lr,
            weight_decay=config.weight_decay,
            batch_size=config.batch_size,
            micro_batch_size=max(config.batch_size // config.workers, 1),
        )
        trainee = Trainee(self.model)
        self.engine = build_engine(trainee, list(trainee.parameters()), self._learner)

    def train_epoch(self, batches: Iterable[Groups]) -> None:
        """One pass; ends early after too many broken steps in a row."""
        sums = torch.zeros(3, dtype=torch.float64)
        for number, groups in enumerate(batches):
            if self.progress.stopped:
                continue  # the others' batches are read to the end, so that no rank waits for a reader that left
            rng = np.random.default_rng([self._seed, self.progress.epoch, self._rank, number])
            rows = rows_of_groups(self.model, groups)
            loss = batch_loss(self.engine, self.model, rows, self._facts, self._clicks, rng)
            if self._step(loss):
                sums += torch.tensor([float(loss.detach()), 1.0, float(len(rows.product_texts))], dtype=torch.float64)
        total, steps, tests = sum_over_ranks(sums).tolist()
        self.progress.epoch += 1
        self.progress.train_loss = total / steps if steps else float("nan")
        self.progress.tests = int(tests)

    def _step(self, loss: torch.Tensor) -> bool:
        """Take one step, unless the loss of some rank is no finite number."""
        (broken,) = sum_over_ranks(torch.tensor([float(not torch.isfinite(loss.detach()))])).tolist()
        if broken:
            self.progress.dropped += 1
            self._in_a_row += 1
            self.progress.stopped = "broken_steps" if self._in_a_row >= MAX_DROPPED_IN_A_ROW else ""
            logger.warning("a step was dropped: its loss is no finite number on %d rank(s), %d so far", int(broken), self.progress.dropped)
            return False
        self.engine.backward(loss)
        take_step(self.engine, learning_rate(self.progress.step, self._total_steps, self._learner))
        self.progress.step += 1
        self._in_a_row = 0
        return True

    @torch.no_grad()
    def validate(self, batches: Iterable[Groups]) -> bool:
        """Measure the validation tests; True where this epoch is the best so far."""
        sums = torch.zeros(4, dtype=torch.float64)
        self._seen = []
        for groups in batches:
            rows = rows_of_groups(self.model, groups)
            loss = batch_loss(self.engine, self.model, rows, self._facts, self._clicks, None)
            sums += torch.tensor([float(loss), 1.0, *self._right_pairs(rows)], dtype=torch.float64)
        loss_sum, count, right, pairs = sum_over_ranks(sums).tolist()
        progress = self.progress
        progress.validation_loss = loss_sum / count if count else float("nan")
        progress.validation_accuracy = right / pairs if pairs else float("nan")
        is_best = bool(np.isfinite(progress.validation_loss)) and progress.validation_loss < progress.best_loss
        if is_best:
            progress.best_epoch, progress.best_loss = progress.epoch, progress.validation_loss
        elif not progress.stopped and progress.epoch - progress.best_epoch >= self._config.patience:
            progress.stopped = "patience"
        return is_best

    def _right_pairs(self, rows: RewardRows) -> tuple[float, float]:
        pairs = all_pairs(rows, np.arange(len(rows.product_texts)), self._facts.prior_impressions)
        texts = [rows.product_texts[int(k)] for k in rows.product_index]
        if isinstance(self.model, SideBySideReward):
            first, second = ([rows.images[int(k)] for k in side] for side in (pairs.first, pairs.second))
            of_pair = [texts[int(k)] for k in pairs.first]
            difference = self._left(self.model, of_pair, first, second) - self._left(self.model, of_pair, second, first)
        else:
            answer = self.engine(texts, rows.images)[0]
            scores = (answer if isinstance(answer, torch.Tensor) else answer[0]).cpu().numpy()
            difference = scores[pairs.first] - scores[pairs.second]
            self._seen.append((difference.astype(np.float64), pairs.order_probability))
        told = pairs.label != 0.5
        guess = 0.5 + 0.5 * np.sign(difference[told])
        return float((1.0 - np.abs(guess - pairs.label[told])).sum()), float(told.sum())

    def _left(self, model: SideBySideReward, texts: list[str], lefts: list[ImageArray], rights: list[ImageArray]) -> np.ndarray:
        logits = self.engine(texts, [model.picture(a, b) for a, b in zip(lefts, rights, strict=True)])[0][0]
        return np.asarray((logits[:, 0] - logits[:, 1]).cpu().numpy())

    def save(self, folder: Path) -> None:
        """Write this rank's part of a checkpoint into `folder`, and by rank 0 where the job stands."""
        folder.mkdir(parents=True, exist_ok=True)
        self.engine.save_checkpoint(str(folder), tag=TAG, client_state={"random_state": torch.get_rng_state()})
        if self._rank == 0:
            shape = {"world_size": self._config.workers, "zero_stage": self._config.zero_stage, "form": self._config.form}
            (folder / STATE).write_text(json.dumps({"shape": shape, "progress": asdict(self.progress)}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint that `save` wrote at the same world size, ZeRO stage and form.

        Raises:
            CheckpointError: none there, or one of another shape.
        """
        if not (folder / STATE).is_file():
            raise CheckpointError(f"{folder}: no checkpoint of a reward job in it ({STATE} is missing)")
        content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        shape = {"world_size": self._config.workers, "zero_stage": self._config.zero_stage, "form": self._config.form}
        if content["shape"] != shape:
            raise CheckpointError(f"{folder}: the checkpoint was written with {content['shape']}, but the config says {shape}")
        loaded, state = self.engine.load_checkpoint(str(folder), tag=TAG)
        if loaded is None:
            raise CheckpointError(f"{folder}: the checkpoint is incomplete")
        torch.set_rng_state(state["random_state"])
        self.progress = Progress(**content["progress"])

    def export(self, folder: Path) -> None:
        """Write the model as it is as a plain reward folder (by rank 0); all ranks call."""
        weights = {name: gathered_copy(value) for name, value in self.engine.module.state_dict(keep_vars=True).items()}
        if self._rank != 0:
            return
        tau = float(weights.pop("log_tau").exp()[0])
        copy = new_model(self._config, self._backbone, self._facts)
        copy.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        if isinstance(copy, RewardScorer):
            copy.spec = dataclasses.replace(copy.spec, tau=tau)
        elif isinstance(copy, EncoderReward) and copy.kind == "vam":
            copy.spec = dataclasses.replace(copy.spec, tau=self._tau_of_lists())
        folder.mkdir(parents=True, exist_ok=True)
        copy.save(folder)

    def _tau_of_lists(self) -> float:
        """A list-wise score has a scale of its own; how sure a difference makes an order is read off this rank's validation pairs."""
        differences, probabilities = (np.concatenate(parts) for parts in zip(*self._seen, strict=True))
        return fit_tau(differences, probabilities)
