"""Stage C: one rank of the learner group. Controller-called: a round of steps, export, save, load. No Ray here."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caig_rl.config.schema import Config
from caig_rl.learning.engine import (
    TORCH_DTYPES,
    accumulation,
    build_engine,
    gathered_copy,
    learning_rate,
    sum_over_ranks,
    take_step,
)
from caig_rl.learning.engine_checkpoint import load_engine, save_engine
from caig_rl.learning.preference.batching import MicroBatch, plan_steps
from caig_rl.learning.preference.kl_control import adapted_kl_weight
from caig_rl.learning.preference.losses import GroupLosses, group_losses
from caig_rl.learning.preference.reference import Reference
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.learning.preference.sequences import GroupBatch, group_batch, rollout_batch
from caig_rl.learning.preference.term_balance import GradientNorm, balanced_weight
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.logprobs import AnswerLogProbs, answer_log_probs, batch_log_probs
from caig_rl.models.policy import attach_lora, load_policy, merged_state_dict, save_policy_folder
from caig_rl.models.prompting import chat_prompt
from caig_rl.objectives.registry import has_negatives
from caig_rl.types import ImageArray, PreferenceGroup, Rollout, RolloutGroup


@dataclass(slots=True)
class _PreparedMicroBatch:
    plan: MicroBatch
    batch: GroupBatch
    reference: torch.Tensor
    """(S,) summed log-probs under the reference."""
    fluent: torch.Tensor
    """(S,) bool, by the initial policy."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a round's optimiser steps came to."""

    losses: torch.Tensor
    """(4,) sums over groups and epochs, see `_loss_sums`; over all ranks."""
    gap: float
    """Mean |sampling - learner| log-prob a token before the first step, over all ranks."""
    norms: list[float]
    """Gradient norm of each step."""
    lr: float
    """Of the last step."""


class PreferenceLearner:
    """Holds policy, reference and optimiser of one rank. `init_group` comes first; every method is called on all ranks alike."""

    def __init__(self, config: Config, rank: int, world_size: int, total_steps: int) -> None:
        """Load the policy, attach the adapter (or build the frozen copy), build the engine.

        Args:
            config: `policy.model`, `objective` and `learner` are read.
            rank: 0 to world_size - 1.
            world_size: ranks in the group.
            total_steps: optimiser steps of the whole run, the length of the cosine.

        Raises:
            ModelFolderError: the policy's folder is refused.
        """
        learner, policy = config.learner, config.policy
        self.config, self.rank, self.world_size, self.total_steps = config, rank, world_size, total_steps
        self.step, self.kl_weight, self.pc_weight = 0, learner.kl_weight, learner.pc_weight
        # The adapter's random half must be the same on all ranks and at every start.
        torch.manual_seed(config.run.seed)
        folder = resolve_model_folder(policy.model, "policy", policy.trust_remote_code)
        base, self.processor = load_policy(folder, TORCH_DTYPES[learner.dtype], policy.trust_remote_code)
        model: nn.Module = attach_lora(base, learner.lora_rank, learner.lora_alpha) if learner.finetune == "lora" else base
        self.reference = Reference(learner, lambda: load_policy(folder, TORCH_DTYPES[learner.dtype], policy.trust_remote_code)[0])
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.engine = build_engine(model, parameters, learner)

    def train_round(
        self,
        groups: Sequence[PreferenceGroup],
        views: Sequence[ImageArray],
        negative_rollouts: Sequence[Rollout | None] | None = None,
        negative_views: Sequence[ImageArray | None] | None = None,
    ) -> RoundMetrics:
        """All of `train_steps`, which says what the arguments are."""
        steps = self.train_steps(groups, views, negative_rollouts, negative_views)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                metrics: RoundMetrics = end.value
                return metrics

    def train_steps(
        self,
        groups: Sequence[PreferenceGroup],
        views: Sequence[ImageArray],
        negative_rollouts: Sequence[Rollout | None] | None = None,
        negative_views: Sequence[ImageArray | None] | None = None,
    ) -> Generator[int, None, RoundMetrics]:
        """Take ceil(len(groups) / batch_size) * epochs optimiser steps. All ranks get all groups, in order of admission id, and train their
        share. Yields after each step's worth of preparation and after each optimiser step, so that who waits sees it move: steps taken.

        Args:
            groups: the round's groups, and those of former rounds that are replayed with them.
            views: `views[i]` is group i's product as the policy saw it, (height, width, 3).
            negative_rollouts: "pcpo_official" only, see `group_batch`.
            negative_views: the other product's picture, for each group whose negative takes it.

        Raises:
            ValueError: no groups, lists of unequal length, or a negative without the rollout or the picture that it takes.
        """
        started = time.perf_counter()
        learner = self.config.learner
        _check_lengths(len(groups), views, negative_rollouts, negative_views)
        self.reference.follow(self.engine.module, max(group.admission.round for group in groups))
        nothing = [None] * len(groups)
        prepared, (kl, reference_kl, answers, fluent) = yield from self._prepare_all(
            groups, views, negative_rollouts or nothing, negative_views or nothing
        )
        self.kl_weight = adapted_kl_weight(self.kl_weight, reference_kl / answers, learner.kl_bound, learner.kl_weight)
        self.pc_weight = self._pc_weight(prepared[0])
        taken = yield from self._optimise(prepared)
        loss, dpo, product_centric, right = (taken.losses / (len(groups) * learner.epochs)).tolist()
        return RoundMetrics(
            rows=len(groups),
            steps=len(taken.norms),
            loss=loss,
            dpo_loss=dpo,
            product_centric_loss=product_centric,
            accuracy=right,
            kl=kl / answers,
            logprob_gap=taken.gap,
            grad_norm=sum(taken.norms) / len(taken.norms),
            lr=taken.lr,
            seconds=time.perf_counter() - started,
            kl_weight=self.kl_weight,
            fluent=fluent / answers,
            pc_weight=self.pc_weight if has_negatives(self.config) else None,
            reference_kl=reference_kl / answers if self.reference.moved_at else None,
        )

    def export_weights(self) -> dict[str, torch.Tensor]:
        """The merged weights under the base checkpoint's names, CPU tensors in the learner's dtype; empty on ranks other than 0."""
        weights = merged_state_dict(self.engine.module, gathered_copy)
        return weights if self.rank == 0 else {}

    def export_folder(self, folder: Path) -> None:
        """Write the merged policy as a plain Hugging Face folder (by rank 0)."""
        weights = self.export_weights()
        if self.rank == 0:
            save_policy_folder(self.engine.module, self.processor, weights, folder)

    def save(self, folder: Path) -> None:
        """Write a DeepSpeed checkpoint into `folder`: trained weights, optimiser, step count, random state, and a reference that has
        moved."""
        state = {"step": self.step, "kl_weight": self.kl_weight, "reference_moved_at": self.reference.moved_at}
        save_engine(self.engine, folder, self.rank, self._shape(), state)
        self.reference.save(folder, self.rank)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint that `save` wrote at the same world size, ZeRO stage and kind of fine-tuning.

        Raises:
            CheckpointError: no checkpoint there, one cut short, or one of another shape.
        """
        content = load_engine(self.engine, folder, self._shape())
        # Checkpoints of earlier versions know of no such weight, and no reference of theirs has moved.
        self.step, self.kl_weight = int(content["step"]), float(content.get("kl_weight", self.config.learner.kl_weight))
        self.reference.load(folder, int(content.get("reference_moved_at", 0)))

    @torch.no_grad()
    def token_log_probs(self, instruction: str, view: ImageArray, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Log-prob in nats of each token of an answer under the current policy, for the canary. `view` is (height, width, 3)."""
        prompt = chat_prompt(self.processor, instruction)
        result = answer_log_probs(self.engine.module, self.processor, [prompt], [view], [tuple(token_ids)])
        return tuple(result.tokens[0].tolist())

    @torch.no_grad()
    def initial_log_probs(self, groups: Sequence[RolloutGroup], views: Sequence[ImageArray]) -> list[list[tuple[float, ...]]]:
        """`[i][k]`: natural-log probability, under the initial policy, of each token of answer k of group i over picture `views[i]`,
        (height, width, 3). Raises ValueError for an answer without a token, which no policy samples."""
        found: list[list[tuple[float, ...]]] = []
        size = self.config.learner.micro_batch_size
        for start in range(0, len(groups), size):
            part = groups[start : start + size]
            batch = rollout_batch(self.config, self.processor, part, views[start : start + size])
            tokens = iter(self.reference.initial_log_probs(self.engine.module, batch).tokens.double().tolist())
            found += [[tuple(next(tokens)[: len(one.token_ids)]) for one in group.rollouts] for group in part]
        return found

    def _shape(self) -> dict[str, Any]:
        """What a checkpoint must agree in with the learner that loads it."""
        learner = self.config.learner
        rank = learner.lora_rank if learner.finetune == "lora" else None
        return {"world_size": self.world_size, "zero_stage": learner.zero_stage, "dtype": learner.dtype, "lora_rank": rank}

    def _prepare_all(
        self,
        groups: Sequence[PreferenceGroup],
        views: Sequence[ImageArray],
        negative_rollouts: Sequence[Rollout | None],
        negative_views: Sequence[ImageArray | None],
    ) -> Generator[int, None, tuple[list[list[_PreparedMicroBatch]], list[float]]]:
        """The micro-batches of each step of this rank, and what `_prepare` counts, over all ranks."""
        learner = self.config.learner
        counted = torch.zeros(4, dtype=torch.float64)
        prepared: list[list[_PreparedMicroBatch]] = []
        for micro_batches in plan_steps(len(groups), learner.batch_size, learner.micro_batch_size, self.rank, self.world_size):
            prepared.append([self._prepare(micro, groups, views, negative_rollouts, negative_views, counted) for micro in micro_batches])
            yield self.step
        return prepared, sum_over_ranks(counted).tolist()

    def _optimise(self, prepared: Sequence[Sequence[_PreparedMicroBatch]]) -> Generator[int, None, _Taken]:
        """All steps of all epochs."""
        losses, gap = torch.zeros(4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        norms: list[float] = []
        lr = 0.0
        for _ in range(self.config.learner.epochs):
            for step in prepared:
                lr = learning_rate(self.step, self.total_steps, self.config.learner)
                norms.append(self._take_step(step, lr, losses, None if norms else gap))
                yield self.step
        difference, tokens = sum_over_ranks(gap).tolist()
        return _Taken(sum_over_ranks(losses), difference / tokens, norms, lr)

    def _prepare(
        self,
        micro: MicroBatch,
        groups: Sequence[PreferenceGroup],
        views: Sequence[ImageArray],
        negative_rollouts: Sequence[Rollout | None],
        negative_views: Sequence[ImageArray | None],
        before: torch.Tensor,
    ) -> _PreparedMicroBatch:
        """Encode once, ask initial policy and reference once, and add this micro-batch to `before` (4,): KL against the initial policy, KL
        against the reference, answers, fluent answers."""
        of_micro: Any = [[rows[index] for index in micro.rows] for rows in (groups, views, negative_rollouts, negative_views)]
        batch = group_batch(self.config, self.processor, *of_micro)
        initial = self.reference.initial_log_probs(self.engine.module, batch.answers)
        moved = self.reference.moved_log_probs(batch.answers)
        fluent = batch.fluent(initial, self.config.learner.fluency_floor)
        if micro.weight > 0.0:
            kl = _sampled_kl(initial, batch.rollouts)
            reference_kl = kl if moved is None else _sampled_kl(moved, batch.rollouts)
            num_fluent = float(fluent[: len(batch.rollouts)].sum())
            before += torch.tensor([kl, reference_kl, len(batch.rollouts), num_fluent], dtype=torch.float64)
        return _PreparedMicroBatch(micro, batch, (initial if moved is None else moved).sums, fluent)

    def _pc_weight(self, step: Sequence[_PreparedMicroBatch]) -> float:
        """w for a round that begins with `step`."""
        learner = self.config.learner
        if not (learner.pc_balance and has_negatives(self.config)):
            return learner.pc_weight
        objective, product_centric = (self._gradient_norm(step, term) for term in ("main", "product_centric"))
        return balanced_weight(learner.pc_weight, objective, product_centric)

    def _gradient_norm(self, step: Sequence[_PreparedMicroBatch], term: str) -> float:
        """Of one term of `GroupLosses`, over a step's groups on all ranks."""
        norm = GradientNorm(self.engine.module.parameters())
        for prepared in step:
            # A pass of its own for each term: ZeRO 3 gathers its weights for one backward pass of a forward pass.
            loss: torch.Tensor = getattr(self._losses(self.engine.module, prepared)[1], term)
            norm.add(loss.sum() * prepared.plan.weight)
        return norm.value(self.world_size)

    def _losses(self, model: Any, prepared: _PreparedMicroBatch) -> tuple[AnswerLogProbs, GroupLosses]:
        """With gradient, by `model`: the engine for a step, or its module."""
        policy = batch_log_probs(model, prepared.batch.answers)
        scored = prepared.batch.scored(policy, prepared.reference, prepared.fluent)
        return policy, group_losses(self.config, scored, self.kl_weight, self.pc_weight)

    def _take_step(self, micro_batches: Sequence[_PreparedMicroBatch], lr: float, during: torch.Tensor, gap: torch.Tensor | None) -> float:
        """One optimiser step at `lr`; adds (4,) loss, own term, product-centric loss and right orders to `during`, and (2,) what
        `_sampling_gap` says to `gap`. Returns the gradient norm."""
        for index, prepared in enumerate(micro_batches):
            with accumulation(self.engine, is_last=index == len(micro_batches) - 1):
                policy, losses = self._losses(self.engine, prepared)
                self.engine.backward(losses.total.sum() * prepared.plan.weight)
            if prepared.plan.weight > 0.0:
                during += _loss_sums(losses)
                if gap is not None:
                    gap += _sampling_gap(policy, prepared.batch.rollouts)
        self.step += 1
        return take_step(self.engine, lr)


def _check_lengths(
    num_groups: int,
    views: Sequence[ImageArray],
    negative_rollouts: Sequence[Rollout | None] | None,
    negative_views: Sequence[ImageArray | None] | None,
) -> None:
    for name, rows in (("views", views), ("negative rollouts", negative_rollouts), ("negative views", negative_views)):
        if rows is not None and len(rows) != num_groups:
            raise ValueError(f"{len(rows)} {name} for {num_groups} groups")


def _loss_sums(losses: GroupLosses) -> torch.Tensor:
    right = (losses.margins > 0).double() + 0.5 * (losses.margins == 0).double()
    parts = (losses.total, losses.main, losses.product_centric, right)
    return torch.stack([part.detach().double().sum().cpu() for part in parts])


def _sampling_gap(policy: AnswerLogProbs, rollouts: Sequence[Rollout]) -> torch.Tensor:
    """(2,) sums over the sampled answers: |sampling - learner| log-probs, tokens."""
    tokens = policy.tokens.detach().cpu()
    sampled = [torch.tensor(rollout.logprobs) for rollout in rollouts]
    gap = sum(float((tokens[row, : len(values)] - values).abs().sum()) for row, values in enumerate(sampled))
    return torch.tensor([gap, sum(len(values) for values in sampled)], dtype=torch.float64)


def _sampled_kl(reference: AnswerLogProbs, rollouts: Sequence[Rollout]) -> float:
    """Sum over the sampled answers of the k3 estimate of KL(the policy that sampled them || `reference`), nats."""
    kl = 0.0
    for row, rollout in enumerate(rollouts):
        log_ratio = reference.tokens[row, : len(rollout.logprobs)].cpu().double() - torch.tensor(rollout.logprobs, dtype=torch.float64)
        kl += float((log_ratio.exp() - 1.0 - log_ratio).sum())
    return kl
