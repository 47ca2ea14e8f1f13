"""The sequences that preference groups are learned from: their answers and, for the product-centric term, the negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import ProcessorMixin

from caig_rl.config.schema import Config
from caig_rl.imaging.masking import mask_patches
from caig_rl.models.answer_batch import AnswerBatch, collate_answers, collate_shared, shares_prompts
from caig_rl.models.logprobs import AnswerLogProbs
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.objectives.groups import ScoredGroups
from caig_rl.objectives.registry import OBJECTIVES, has_negatives
from caig_rl.types import ImageArray, NegativeKind, PreferenceGroup, Rollout, RolloutGroup

Sequence3 = tuple[str, ImageArray, tuple[int, ...]]
"""Instruction, picture (height, width, 3), answer token ids."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupBatch:
    """G groups in one collated batch: the answers group by group, then G negatives where the objective has them."""

    answers: AnswerBatch
    """S sequences."""
    rollouts: tuple[Rollout, ...]
    """The answers as they were sampled, in the batch's order, without the negatives."""
    rows: torch.Tensor
    """(G, K) int64: the sequence of each candidate; 0 where `usable` is False."""
    usable: torch.Tensor
    """(G, K) bool: False where a group has fewer candidates than the largest."""
    rewards: torch.Tensor
    """(G, K) float64, log-odds."""
    has_negatives: bool

    def fluent(self, reference: AnswerLogProbs, floor: float | None) -> torch.Tensor:
        """(S,) bool: True where the reference finds every token of the answer at least as likely as `floor` (nats). None: all are."""
        if floor is None:
            return torch.ones(len(reference.tokens), dtype=torch.bool, device=reference.tokens.device)
        # Padding is 0, the highest log-prob there is.
        return reference.tokens.min(dim=1).values >= floor

    def scored(self, policy: AnswerLogProbs, reference: torch.Tensor, fluent: torch.Tensor) -> ScoredGroups:
        """What the objective sees; answers that are not fluent take no part but in the divergence.

        Args:
            policy: of all S sequences.
            reference: (S,) summed log-probs under the reference, without gradient.
            fluent: (S,) bool, see `fluent`.
        """
        rows, present = self.rows.to(policy.sums.device), self.usable.to(policy.sums.device)
        usable = present & fluent[rows]
        sampled = torch.tensor([sum(rollout.logprobs) for rollout in self.rollouts]).to(policy.sums)
        num_groups = len(rows)
        return ScoredGroups(
            log_probs=policy.sums[rows],
            reference=reference[rows],
            behaviour=sampled[rows],
            rewards=self.rewards.to(policy.sums),
            usable=usable,
            num_tokens=policy.mask.sum(dim=1)[rows],
            sampled_log_ratios=(policy.sums[rows] - reference[rows]).masked_fill(~present, 0.0),
            sampled=present,
            negative_log_probs=policy.sums[-num_groups:] if self.has_negatives else None,
            negative_reference=reference[-num_groups:] if self.has_negatives else None,
        )


def learned_candidates(config: Config, group: PreferenceGroup) -> tuple[int, ...]:
    """Indices of the candidates that the objective runs through the policy."""
    candidates = OBJECTIVES[config.objective].candidates
    if candidates == "all":
        return group.usable
    return (group.best,) if candidates == "best" else (group.best, group.worst)


def group_batch(
    config: Config,
    processor: ProcessorMixin,
    groups: Sequence[PreferenceGroup],
    views: Sequence[ImageArray],
    negative_rollouts: Sequence[Rollout | None] | None,
    negative_views: Sequence[ImageArray | None] | None = None,
) -> GroupBatch:
    """Collate what the objective needs of G groups.

    Args:
        config: the objective and its weights.
        processor: the policy's.
        groups: G groups.
        views: G pictures of the groups' products, as the policy saw them, (height, width, 3).
        negative_rollouts: "pcpo_official" only: the other product's own winner, for each group whose negative is another product's text.
        negative_views: the other product's picture, for each group whose negative takes it.

    Raises:
        ValueError: "pcpo_official" without the other product's winner, or a negative without the picture that it takes.
    """
    learned = [learned_candidates(config, group) for group in groups]
    prompts = [(group.instruction, view) for group, view in zip(groups, views, strict=True)]
    owners = [number for number, indices in enumerate(learned) for _ in indices]
    rollouts = tuple(group.candidates[index] for group, indices in zip(groups, learned, strict=True) for index in indices)
    answers = [rollout.token_ids for rollout in rollouts]
    if has_negatives(config):
        nothing = [None] * len(groups)
        others = (negative_rollouts or nothing, negative_views or nothing)
        negatives = [negative_sequence(config, *row) for row in zip(groups, views, *others, strict=True)]
        prompts += [(text, view) for text, view, _ in negatives]
        owners += range(len(groups), 2 * len(groups))
        answers += [answer for _, _, answer in negatives]
    batch = _collated(config, processor, prompts, owners, answers)
    return GroupBatch(batch, rollouts, *_table(groups, learned), has_negatives(config))


def rollout_batch(config: Config, processor: ProcessorMixin, groups: Sequence[RolloutGroup], views: Sequence[ImageArray]) -> AnswerBatch:
    """All answers of G groups, group by group, over their pictures `views`, (height, width, 3). Raises ValueError for an empty answer."""
    prompts = [(group.instruction, view) for group, view in zip(groups, views, strict=True)]
    owners = [number for number, group in enumerate(groups) for _ in group.rollouts]
    return _collated(config, processor, prompts, owners, [one.token_ids for group in groups for one in group.rollouts])


def _collated(
    config: Config,
    processor: ProcessorMixin,
    prompts: Sequence[tuple[str, ImageArray]],
    owners: Sequence[int],
    answers: Sequence[tuple[int, ...]],
) -> AnswerBatch:
    """`answers[s]` behind prompt `owners[s]`: all of a prompt's in one row where rows are shared, else each in its own."""
    shared = config.learner.share_prompts and shares_prompts(processor)
    asked = prompts if shared else [prompts[owner] for owner in owners]
    encoded = encode_prompts(processor, [chat_prompt(processor, text) for text, _ in asked], [view for _, view in asked])
    return collate_shared(encoded, answers, owners, processor) if shared else collate_answers(encoded, answers, processor)


def negative_sequence(
    config: Config, group: PreferenceGroup, view: ImageArray, negative_rollout: Rollout | None, negative_view: ImageArray | None = None
) -> Sequence3:
    """x~ of one group with the answer it is judged by: y_w, except where "pcpo_official" swaps the answer along with the text."""
    if group.negative is NegativeKind.MASKED_IMAGE:
        return group.instruction, mask_patches(view, group.negative_seed), group.chosen.token_ids
    if group.takes_other_picture:
        if negative_view is None:
            raise ValueError(
                f"admission {group.admission.admission_id} needs the picture of product {group.negative_product_id!r} for its negative"
            )
        return group.instruction, negative_view, group.chosen.token_ids
    if config.objective != "pcpo_official":
        return group.negative_instruction, view, group.chosen.token_ids
    if negative_rollout is None:
        raise ValueError(
            f"pcpo_official needs the winner of product {group.negative_product_id!r} for admission {group.admission.admission_id}"
        )
    return group.negative_instruction, view, negative_rollout.token_ids


def _table(groups: Sequence[PreferenceGroup], learned: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`rows`, `usable` and `rewards` of a `GroupBatch`."""
    width = max(len(indices) for indices in learned)
    rows = torch.zeros(len(groups), width, dtype=torch.long)
    usable, rewards = torch.zeros(rows.shape, dtype=torch.bool), torch.zeros(rows.shape, dtype=torch.float64)
    start = 0
    for number, (group, indices) in enumerate(zip(groups, learned, strict=True)):
        count = len(indices)
        rows[number, :count] = torch.arange(start, start + count)
        usable[number, :count] = True
        rewards[number, :count] = torch.tensor([group.rewards[index] for index in indices], dtype=torch.float64)
        start += count
    return rows, usable, rewards
