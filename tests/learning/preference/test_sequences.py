"""Which sequences a pair is trained on, under each objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from caig_rl.imaging.masking import mask_patches
from caig_rl.learning.preference.sequences import negative_sequence, pair_batch, pair_losses
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


def test_the_official_form_swaps_the_answer_with_the_text() -> None:
    config, swapped = make_config(Path("unused"), "pcpo_official"), make_rollout(77, 5)
    assert negative_sequence(config, PAIRS[0], VIEWS[0], swapped)[2] == swapped.token_ids
    with pytest.raises(ValueError, match="needs the winner of product 'other'"):
        negative_sequence(config, PAIRS[0], VIEWS[0], None)


@pytest.mark.parametrize(("objective", "sequences"), [("dpo", 2), ("pcpo", 3)])
def test_dpo_runs_no_negatives(objective: str, sequences: int) -> None:
    batch = pair_batch(make_config(Path("unused"), objective), make_processor(), PAIRS, VIEWS, None)
    assert len(batch.answers) == sequences * len(PAIRS)


def test_the_loss_of_a_pair_is_dpo_plus_w_times_pcpo() -> None:
    config = make_config(Path("unused"), pc_weight=0.7, beta=0.5, beta_pc=0.3)
    losses = pair_losses(config, SUMS, REFERENCE, TOKENS)
    chosen, rejected, negative = (SUMS - REFERENCE).view(3, 2)
    dpo = -torch.log(1 / (1 + torch.exp(-0.5 * (chosen - rejected))))
    product_centric = -torch.log(1 / (1 + torch.exp(-0.3 * (chosen - negative))))
    assert torch.allclose(losses.total, dpo + 0.7 * product_centric, atol=1e-12)
    assert torch.allclose(losses.margins, 0.5 * (chosen - rejected), atol=1e-12)


def test_dpo_alone_is_the_first_term() -> None:
    losses = pair_losses(make_config(Path("unused"), "dpo"), SUMS[:4], REFERENCE[:4], TOKENS[:4])
    assert torch.equal(losses.total, losses.dpo)
    assert losses.product_centric.tolist() == [0.0, 0.0]
