"""The sequences of a preference pair: winner, loser and, for the product-centric term, the negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import ProcessorMixin

from caig_rl.config.schema import Config
from caig_rl.imaging.masking import mask_patches
from caig_rl.models.logprobs import AnswerBatch, collate_answers
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.objectives.dpo import dpo_loss
from caig_rl.objectives.nll import winner_nll
from caig_rl.objectives.pcpo import product_centric_loss
from caig_rl.objectives.pcpo_official import official_product_centric_loss
from caig_rl.types import ImageArray, NegativeKind, PreferencePair, Rollout

Sequence3 = tuple[str, ImageArray, tuple[int, ...]]
"""Instruction, picture (height, width, 3), answer token ids."""


@dataclass(frozen=True, slots=True)
class PairLosses:
    """Losses of B pairs, (B,) each, in nats."""

    total: torch.Tensor
    """L_DPO + w * L_PCPO, and the winner's likelihood by its weight."""
    dpo: torch.Tensor
    product_centric: torch.Tensor
    """L_PCPO without its weight; zeros where the objective has none."""
    margins: torch.Tensor
    """beta * [(log pi - log ref)(y_w) - (log pi - log ref)(y_l)], the implicit reward's preference for the winner."""


def has_negatives(config: Config) -> bool:
    """Whether the objective reads the product-centric negative."""
    return config.objective != "dpo" and config.learner.pc_weight > 0.0


def pair_batch(
    config: Config,
    processor: ProcessorMixin,
    pairs: Sequence[PreferencePair],
    views: Sequence[ImageArray],
    negative_rollouts: Sequence[Rollout | None] | None,
) -> AnswerBatch:
    """One collated batch of B winners, then B losers, then B negatives (where the objective has them).

    Args:
        config: the objective and its weights.
        processor: the policy's.
        pairs: B pairs.
        views: B pictures of the pairs' products, as the policy saw them, (height, width, 3).
        negative_rollouts: "pcpo_official" only: the other product's own winner, for each pair whose negative is another product's text.

    Raises:
        ValueError: "pcpo_official" without the other product's winner.
    """
    rows: list[Sequence3] = [(pair.instruction, view, pair.chosen.token_ids) for pair, view in zip(pairs, views, strict=True)]
    rows += [(pair.instruction, view, pair.rejected.token_ids) for pair, view in zip(pairs, views, strict=True)]
    if has_negatives(config):
        rollouts = negative_rollouts if negative_rollouts is not None else [None] * len(pairs)
        rows += [negative_sequence(config, *row) for row in zip(pairs, views, rollouts, strict=True)]
    encoded = encode_prompts(processor, [chat_prompt(processor, row[0]) for row in rows], [row[1] for row in rows])
    return collate_answers(encoded, [row[2] for row in rows], processor)


def negative_sequence(config: Config, pair: PreferencePair, view: ImageArray, negative_rollout: Rollout | None) -> Sequence3:
    """x~ of one pair with the answer it is judged by: y_w, except where "pcpo_official" swaps the answer along with the text."""
    if pair.negative is NegativeKind.MASKED_IMAGE:
        return pair.instruction, mask_patches(view, pair.negative_seed), pair.chosen.token_ids
    if config.objective != "pcpo_official":
        return pair.negative_instruction, view, pair.chosen.token_ids
    if negative_rollout is None:
        raise ValueError(
            f"pcpo_official needs the winner of product {pair.negative_product_id!r} for admission {pair.admission.admission_id}"
        )
    return pair.negative_instruction, view, negative_rollout.token_ids


def pair_losses(config: Config, policy: torch.Tensor, reference: torch.Tensor, num_tokens: torch.Tensor) -> PairLosses:
    """L = L_DPO + w * L_PCPO (METHOD, stage C) from summed log-probs, plus `nll_weight` times the winner's mean negative log-likelihood.

    Args:
        config: the objective, beta, beta', w and the weight of the winner's likelihood.
        policy: (S * B,) sums in `pair_batch`'s order, S = 3 with negatives, else 2.
        reference: (S * B,) the same under the reference, without gradient.
        num_tokens: (S * B,) tokens of each answer.
    """
    learner = config.learner
    sequences = 3 if has_negatives(config) else 2
    chosen, rejected, *negative = policy.view(sequences, -1)
    ref_chosen, ref_rejected, *ref_negative = reference.view(sequences, -1)
    dpo = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, learner.beta)
    margins = learner.beta * ((chosen - ref_chosen) - (rejected - ref_rejected)).detach()
    total, product_centric = dpo, torch.zeros_like(dpo)
    if negative:
        term = official_product_centric_loss if config.objective == "pcpo_official" else product_centric_loss
        product_centric = term(chosen, negative[0], ref_chosen, ref_negative[0], learner.beta_pc)
        total = total + learner.pc_weight * product_centric
    if learner.nll_weight > 0.0:
        total = total + learner.nll_weight * winner_nll(chosen, num_tokens.view(sequences, -1)[0])
    return PairLosses(total, dpo, product_centric, margins)
