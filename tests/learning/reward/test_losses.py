"""The scorer's loss on a batch of logged creatives, and the smoothing of VAM's targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caig_rl.learning.reward.losses import scorer_batch, vam_ctr
from tests.learning.logged import make_rows

TAU = torch.tensor(10.0)


def test_the_true_scores_lose_less_than_none_and_than_the_wrong_way_round():
    rows = make_rows(20, 4)
    brightness = torch.tensor([float(image[0, 0, 0]) for image in rows.images])
    true = 0.8 * (brightness - 30.0) / 200.0
    losses = [float(scorer_batch(scores, TAU, rows, -4.0, 500.0, 400.0)) for scores in (true, 0.0 * true, -true)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 3


def test_gradient_pulls_the_more_clicked_creative_up_and_reaches_tau():
    rows = make_rows(1, 2)
    scores, tau = torch.zeros(2, requires_grad=True), TAU.clone().requires_grad_()
    (scorer_batch(scores + torch.tensor([0.1, 0.0]), tau, rows, -4.0, 500.0, 400.0)).backward()
    better = int(np.argmax(rows.clicks))
    assert scores.grad is not None
    assert scores.grad[better] < 0.0 < scores.grad[1 - better]
    assert tau.grad is not None and float(tau.grad) != 0.0


def test_a_lone_creative_has_no_pair_and_still_a_loss():
    assert float(scorer_batch(torch.zeros(1), TAU, make_rows(1, 1), -4.0, 500.0, 400.0)) > 0.0


def test_vam_draws_a_creative_without_clicks_to_the_rate_of_all():
    rows = make_rows(2, 2)
    rows = type(rows)(rows.product_index, rows.product_texts, rows.images, np.array([1, 100, 10_000, 10_000]), np.array([0, 0, 0, 200]))
    ctr = vam_ctr(rows, 0.02)
    assert ctr[0] == pytest.approx(0.02, rel=0.05)
    assert ctr[0] > ctr[1] > ctr[2]
    assert ctr[3] == pytest.approx(0.02)
