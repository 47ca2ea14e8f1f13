"""Known answers of the reward models' losses."""

import math

import pytest
import torch

from caig_rl.objectives.reward import pairwise_loss, side_by_side_loss, smoothed_ctr, vam_loss


def test_the_papers_loss_is_cross_entropy_and_half_the_squared_error_written_by_hand():
    logits = torch.tensor([[0.4, -0.6]], dtype=torch.float64)
    loss = side_by_side_loss(
        logits, torch.ones(1).double(), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, -0.5]]), torch.ones(1).double()
    )
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.0)) + 0.5 * 0.25)


def test_pairs_count_by_their_weights():
    logits, ctr = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 2)
    left = torch.tensor([1.0, 1.0])
    wrong = side_by_side_loss(logits, left, ctr, ctr, torch.tensor([0.0, 1.0])).item()
    right = side_by_side_loss(logits, left, ctr, ctr, torch.tensor([1.0, 0.0])).item()
    mixed = side_by_side_loss(logits, left, ctr, ctr, torch.tensor([3.0, 1.0])).item()
    assert mixed == pytest.approx(0.75 * right + 0.25 * wrong)
    assert pairwise_loss(torch.tensor([2.0, -2.0]), left, torch.tensor([1.0, 0.0])).item() == pytest.approx(math.log(1 + math.exp(-2.0)))


def test_vams_loss_is_the_formula_written_by_hand():
    ctr = torch.tensor([0.021, 0.020], dtype=torch.float64)
    scores, percent = torch.tensor([0.5, 0.0], dtype=torch.float64), torch.tensor([2.0, 2.0], dtype=torch.float64)
    target = math.e / (1 + math.e)
    model = 1 / (1 + math.exp(-0.5))
    listwise = -(target * math.log(model) + (1 - target) * math.log(1 - model))
    assert vam_loss(scores, percent, ctr).item() == pytest.approx(listwise + 0.5 * 0.1**2 / 2)


def test_vams_scores_are_best_at_a_thousand_times_the_ctr():
    ctr = torch.tensor([0.021, 0.020, 0.0235], dtype=torch.float64)
    scores = (1000.0 * ctr).requires_grad_()
    vam_loss(scores, 100.0 * ctr, ctr).backward()
    assert torch.allclose(scores.grad, torch.zeros(3, dtype=torch.float64), atol=1e-12)


def test_smoothing_adds_prior_clicks_and_prior_impressions():
    assert smoothed_ctr(torch.tensor([3.0]), torch.tensor([100.0]), 1.0, 49.0).item() == pytest.approx(4 / 150)
