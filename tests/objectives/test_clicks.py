"""Known answers of the click objectives."""

from __future__ import annotations

import math

import pytest
import torch

from caig_rl.objectives.clicks import binomial_loss, fit_intercepts, order_probability, soft_order_loss


def test_the_binomial_loss_is_the_likelihood_written_by_hand() -> None:
    loss = binomial_loss(torch.tensor([math.log(0.02 / 0.98)], dtype=torch.float64), torch.tensor([3.0]), torch.tensor([100.0]))
    assert loss.item() == pytest.approx(-(3 * math.log(0.02) + 97 * math.log(0.98)), rel=1e-6)


def test_the_binomial_loss_is_least_at_the_observed_rate() -> None:
    logits = torch.tensor([math.log(0.03 / 0.97)], dtype=torch.float64, requires_grad=True)
    binomial_loss(logits, torch.tensor([30.0]), torch.tensor([1000.0])).sum().backward()
    assert logits.grad.item() == pytest.approx(0.0, abs=1e-5)


def test_a_coin_flip_pair_teaches_equality() -> None:
    difference = torch.tensor([0.0, 0.4], dtype=torch.float64, requires_grad=True)
    soft_order_loss(difference, torch.tensor([0.5, 0.5]), torch.tensor(3.0)).sum().backward()
    assert difference.grad[0].item() == 0.0
    assert difference.grad[1].item() > 0.0


def test_the_soft_order_loss_is_the_formula_written_by_hand() -> None:
    loss = soft_order_loss(torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.8], dtype=torch.float64), torch.tensor(10.0))
    expected = -0.8 * math.log(1 / (1 + math.exp(-1.0))) - 0.2 * math.log(1 / (1 + math.exp(1.0)))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_order_probabilities_of_a_pair_add_up_to_one_and_equals_are_a_coin_flip() -> None:
    clicks, impressions = torch.tensor([30.0, 20.0, 20.0]), torch.tensor([1000.0, 1000.0, 1000.0])
    order = order_probability(clicks, impressions, torch.full((3,), 0.023), 100.0)
    assert torch.allclose(order + order.T, torch.ones(3, 3), atol=1e-6)
    assert order[1, 2].item() == pytest.approx(0.5)
    assert order[0, 1].item() > 0.85


def test_more_impressions_make_the_same_difference_surer() -> None:
    few = order_probability(torch.tensor([3.0, 2.0]), torch.tensor([100.0, 100.0]), torch.full((2,), 0.025), 50.0)
    many = order_probability(torch.tensor([300.0, 200.0]), torch.tensor([10000.0, 10000.0]), torch.full((2,), 0.025), 50.0)
    assert few[0, 1].item() < 0.75
    assert many[0, 1].item() > 0.999


def test_fitted_intercepts_recover_the_truth_of_plentiful_clicks() -> None:
    truth, scores = torch.tensor([-4.0, -3.0]), torch.tensor([0.3, -0.3, 0.5, 0.0])
    products, impressions = torch.tensor([0, 0, 1, 1]), torch.full((4,), 1e7)
    clicks = impressions * torch.sigmoid(truth[products] + scores)
    fitted = fit_intercepts(scores, clicks, impressions, products, prior_logit=-3.5, prior_std=1.0)
    assert torch.allclose(fitted, truth, atol=1e-3)


def test_a_product_almost_without_impressions_keeps_the_prior() -> None:
    fitted = fit_intercepts(torch.zeros(1), torch.zeros(1), torch.ones(1), torch.tensor([0]), prior_logit=-4.0, prior_std=0.5)
    assert fitted.item() == pytest.approx(-4.0, abs=0.01)
