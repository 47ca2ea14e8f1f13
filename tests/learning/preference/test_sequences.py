"""Which sequences a pair is trained on, under each objective."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.imaging.masking import mask_patches
from caig_rl.learning.preference.losses import group_losses
from caig_rl.learning.preference.sequences import group_batch, negative_sequence
from caig_rl.models.logprobs import AnswerLogProbs
from caig_rl.objectives.anchors import reference_divergence
from caig_rl.objectives.groups import ScoredGroups
from caig_rl.objectives.registry import OBJECTIVES
from caig_rl.types import NegativeKind
from tests.learning.pairs import make_config, make_pairs, make_rollout, make_views
from tests.tiny import make_processor

PAIRS, VIEWS = make_pairs(2), make_views(2)
SUMS = torch.tensor([-10.0, -20.0, -12.0, -18.0, -11.0, -25.0], dtype=torch.float64)
REFERENCE = torch.tensor([-11.0, -20.0, -11.0, -19.0, -11.0, -24.0], dtype=torch.float64)
TOKENS = torch.tensor([4, 6, 4, 5, 4, 6])


def test_pcpo_keeps_the_winners_answer_under_the_other_text() -> None:
    text, view, answer = negative_sequence(make_config(Path("unused")), PAIRS[0], VIEWS[0], None)
    assert (text, answer) == (PAIRS[0].negative_instruction, PAIRS[0].chosen.token_ids)
    assert view is VIEWS[0]


def test_pcpo_keeps_instruction_and_answer_under_the_masked_picture() -> None:
    text, view, answer = negative_sequence(make_config(Path("unused")), PAIRS[1], VIEWS[1], None)
    assert (text, answer) == (PAIRS[1].instruction, PAIRS[1].chosen.token_ids)
    assert np.array_equal(view, mask_patches(VIEWS[1], PAIRS[1].negative_seed))


def test_another_products_picture_stands_under_the_own_text_with_the_winners_answer() -> None:
    group = replace(PAIRS[0], negative=NegativeKind.OTHER_PICTURE, negative_instruction="")
    text, view, answer = negative_sequence(make_config(Path("unused")), group, VIEWS[0], None, VIEWS[1])
    assert (text, answer) == (group.instruction, group.chosen.token_ids) and view is VIEWS[1]
    with pytest.raises(ValueError, match="admission 0 needs the picture of product 'other'"):
        negative_sequence(make_config(Path("unused")), group, VIEWS[0], None)


@pytest.mark.parametrize("instruction", ["background for a lamp", ""])
def test_a_hard_negative_takes_text_or_picture_as_it_was_drawn(instruction: str) -> None:
    group = replace(PAIRS[0], negative=NegativeKind.HARD, negative_instruction=instruction)
    text, view, _ = negative_sequence(make_config(Path("unused")), group, VIEWS[0], None, VIEWS[1])
    assert text == (instruction or group.instruction) and view is VIEWS[0 if instruction else 1]


def test_the_official_form_swaps_the_answer_with_the_text() -> None:
    config, swapped = make_config(Path("unused"), "pcpo_official"), make_rollout(77, 5)
    assert negative_sequence(config, PAIRS[0], VIEWS[0], swapped)[2] == swapped.token_ids
    with pytest.raises(ValueError, match="needs the winner of product 'other'"):
        negative_sequence(config, PAIRS[0], VIEWS[0], None)


@pytest.mark.parametrize(("objective", "sequences"), [("dpo", 2), ("pcpo_paper", 3), ("pcpo", 2), ("sft", 1)])
def test_an_objective_runs_the_sequences_it_reads(objective: str, sequences: int) -> None:
    batch = group_batch(make_config(Path("unused"), objective), make_processor(), PAIRS, VIEWS, None)
    assert len(batch.answers.answers) == sequences * len(PAIRS)


def test_all_usable_candidates_of_unequal_groups_are_found_again_in_the_batch() -> None:
    three = replace(PAIRS[0], candidates=(*PAIRS[0].candidates, make_rollout(9, 5), make_rollout(10, 5)), scores=(0.1, math.nan, 0.7, 0.2))
    batch = group_batch(make_config(Path("unused"), "pcpo"), make_processor(), [three, PAIRS[1]], VIEWS, None)
    assert batch.rows.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert batch.usable.tolist() == [[True, True, True], [True, True, False]]
    assert batch.rewards[0].tolist() == [0.1, 0.7, 0.2]
    sums = torch.arange(5.0)
    policy = AnswerLogProbs(sums[:, None], torch.ones(5, 1, dtype=torch.bool))
    assert batch.scored(policy, sums, torch.ones(5, dtype=torch.bool)).log_probs.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 0.0]]


def _groups(with_negatives: bool = True) -> ScoredGroups:
    """Two groups of two, best first."""
    policy, reference = SUMS.view(3, 2), REFERENCE.view(3, 2)
    return ScoredGroups(
        log_probs=policy[:2].T,
        reference=reference[:2].T,
        behaviour=policy[:2].T,
        rewards=torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64),
        usable=torch.ones(2, 2, dtype=torch.bool),
        num_tokens=TOKENS.view(3, 2)[:2].T,
        negative_log_probs=policy[2] if with_negatives else None,
        negative_reference=reference[2] if with_negatives else None,
    )


def test_the_papers_loss_is_dpo_plus_w_times_pcpo() -> None:
    config = make_config(Path("unused"), pc_weight=0.7, beta=0.5, beta_pc=0.3)
    losses = group_losses(config, _groups(), 0.0, 0.7)
    chosen, rejected, negative = (SUMS - REFERENCE).view(3, 2)
    dpo = -torch.log(1 / (1 + torch.exp(-0.5 * (chosen - rejected))))
    product_centric = -torch.log(1 / (1 + torch.exp(-0.3 * (chosen - negative))))
    assert torch.allclose(losses.total, dpo + 0.7 * product_centric, atol=1e-12)
    assert torch.allclose(losses.margins, chosen - rejected, atol=1e-12)


def test_dpo_alone_is_the_first_term() -> None:
    losses = group_losses(make_config(Path("unused"), "dpo"), _groups(with_negatives=False), 0.0, 1.0)
    assert torch.equal(losses.total, losses.main)
    assert losses.product_centric.tolist() == [0.0, 0.0]


def test_the_divergence_is_added_by_its_weight() -> None:
    config = make_config(Path("unused"), "pcpo")
    plain, held = (group_losses(config, _groups(with_negatives=False), weight, 1.0) for weight in (0.0, 0.1))
    squared = 0.5 * ((SUMS - REFERENCE)[:4].view(2, 2) ** 2).mean(dim=0)
    assert torch.allclose(held.total - plain.total, 0.1 * squared, atol=1e-12)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_gives_finite_losses_of_a_group_of_two(objective: str) -> None:
    config = make_config(Path("unused"), objective)
    losses = group_losses(config, _groups(OBJECTIVES[objective].has_negative), 0.0, 1.0)
    assert losses.total.shape == (2,) and bool(torch.isfinite(losses.total).all())


def test_an_answer_with_a_token_below_the_floor_takes_no_part_and_padding_is_no_token() -> None:
    batch = group_batch(make_config(Path("unused"), "pcpo"), make_processor(), PAIRS, VIEWS, None)
    tokens = torch.tensor([[-1.0, -5.9], [-1.0, -6.1], [-7.0, 0.0], [-2.0, 0.0]])
    reference = AnswerLogProbs(tokens, torch.tensor([[True, True], [True, True], [True, False], [True, False]]))
    fluent = batch.fluent(reference, -6.0)
    assert fluent.tolist() == [True, False, False, True] and bool(batch.fluent(reference, None).all())
    assert batch.scored(reference, reference.sums, fluent).usable.tolist() == [[True, False], [False, True]]


def test_an_answer_that_is_not_learned_from_is_still_held_to_the_reference() -> None:
    batch = group_batch(make_config(Path("unused"), "pcpo"), make_processor(), PAIRS, VIEWS, None)
    sums = torch.tensor([-4.0, -2.0, -5.0, -6.0], requires_grad=True)
    policy = AnswerLogProbs(sums[:, None], torch.ones(4, 1, dtype=torch.bool))
    reference, fluent = torch.tensor([-4.0, -8.0, -5.0, -6.0]), torch.tensor([True, False, True, True])
    divergence = reference_divergence(batch.scored(policy, reference, fluent))
    divergence.sum().backward()
    assert divergence.tolist() == [9.0, 0.0]
    assert sums.grad is not None and sums.grad.tolist() == [0.0, 3.0, 0.0, 0.0]
