"""What the policy is measured against: the initial policy, and the reference of the losses, which is the same unless it has moved.

With LoRA the initial policy is the model with its adapter off. With full fine-tuning it is a frozen copy, and a reference that moves
(`learner.reference_every`) is a second one: fluency and the reported KL are measured against the policy that the run began with, whatever
the reference is by then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from caig_rl.config.learner import LearnerConfig
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import build_frozen_engine, gathered_copy, set_weight
from caig_rl.models.answer_batch import AnswerBatch
from caig_rl.models.logprobs import AnswerLogProbs, batch_log_probs
from caig_rl.models.policy import reference_mode

REFERENCE_FILE = "reference.safetensors"
"""In a checkpoint's learner folder: the weights of a reference that has moved, whole, whatever the ZeRO stage."""


class Reference:
    """Initial policy and reference of one rank; every method is called on all ranks alike."""

    def __init__(self, learner: LearnerConfig, load_model: Callable[[], nn.Module]) -> None:
        """Build what the settings need; `load_model` reads the initial policy from its folder."""
        self._learner, self._load_model = learner, load_model
        self._initial = None if learner.finetune == "lora" else self._frozen()
        self._moved = self._frozen() if learner.reference_every else None
        self.moved_at = 0
        """Rounds that the policy which is the reference had learned; 0: it is the initial one."""

    @torch.no_grad()
    def initial_log_probs(self, policy: nn.Module, batch: AnswerBatch) -> AnswerLogProbs:
        """Under the initial policy. `policy` is the one that learns."""
        with reference_mode(policy) if self._initial is None else nullcontext():
            return batch_log_probs(policy if self._initial is None else self._initial, batch)

    @torch.no_grad()
    def moved_log_probs(self, batch: AnswerBatch) -> AnswerLogProbs | None:
        """Under the reference; None where that is the initial policy."""
        return batch_log_probs(self._moved, batch) if self.moved_at else None

    def follow(self, policy: nn.Module, round_number: int) -> None:
        """Before the first step of a round (counted from 0): become `policy` where a multiple of `reference_every` rounds is done.

        A round that had nothing to teach moves nothing; the next one does, from the same weights.
        """
        every = self._learner.reference_every
        due = 0 if every is None else round_number // every * every
        if due <= self.moved_at:
            return
        assert self._moved is not None, "reference_every builds it"
        weights = dict(self._moved.named_parameters())
        for name, parameter in policy.named_parameters():
            set_weight(weights[name], gathered_copy(parameter))
        self.moved_at = due

    def save(self, folder: Path, rank: int) -> None:
        """Write the reference into `folder` where it has moved; rank 0 writes."""
        if self._moved is None or not self.moved_at:
            return
        weights = {name: gathered_copy(parameter) for name, parameter in self._moved.named_parameters()}
        if rank == 0:
            save_file(weights, folder / REFERENCE_FILE)

    def load(self, folder: Path, moved_at: int) -> None:
        """Go on from what `save` wrote, at any world size and ZeRO stage; `moved_at` as it was.

        Raises:
            CheckpointError: a reference that has moved is missing or cut short.
        """
        self.moved_at = moved_at
        if not moved_at:
            return
        # Also where the run is gone on with without `reference_every`: its reference then stays where it is.
        self._moved = self._moved or self._frozen()
        try:
            with safe_open(folder / REFERENCE_FILE, "pt") as file:
                for name, parameter in self._moved.named_parameters():
                    set_weight(parameter, file.get_tensor(name))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / REFERENCE_FILE}: the reference's weights cannot be read ({error})") from error

    def _frozen(self) -> Any:
        return build_frozen_engine(self._load_model(), self._learner)
