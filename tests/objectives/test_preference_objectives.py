"""L_DPO and L_PCPO agree with the formulas in METHOD, values and gradients, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from caig_rl.objectives.dpo import dpo_loss
from caig_rl.objectives.pcpo import product_centric_loss
from caig_rl.objectives.pcpo_official import official_product_centric_loss

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
LOSSES: list[Loss] = [dpo_loss, product_centric_loss, official_product_centric_loss]
POLICY_CHOSEN = [-12.0, -30.5, -7.25]
POLICY_OTHER = [-13.0, -28.0, -7.25]
REFERENCE_CHOSEN = [-12.5, -30.0, -7.25]
REFERENCE_OTHER = [-12.0, -29.5, -7.25]


def tensors() -> list[torch.Tensor]:
    values = [POLICY_CHOSEN, POLICY_OTHER, REFERENCE_CHOSEN, REFERENCE_OTHER]
    return [torch.tensor(value, dtype=torch.float64, requires_grad=index < 2) for index, value in enumerate(values)]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_formula_written_by_hand(loss: Loss) -> None:
    beta = 0.5
    result = loss(*tensors(), beta)
    for row, value in enumerate(result.tolist()):
        chosen = POLICY_CHOSEN[row] - REFERENCE_CHOSEN[row]
        other = POLICY_OTHER[row] - REFERENCE_OTHER[row]
        assert value == pytest.approx(-math.log(1.0 / (1.0 + math.exp(-beta * (chosen - other)))), abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_minus_beta_times_the_probability_of_the_wrong_order(loss: Loss) -> None:
    beta = 0.3
    chosen, other, ref_chosen, ref_other = tensors()
    loss(chosen, other, ref_chosen, ref_other, beta).sum().backward()
    margin = (chosen - ref_chosen - other + ref_other).detach()
    wrong = 1.0 / (1.0 + torch.exp(beta * margin))
    assert torch.allclose(chosen.grad, -beta * wrong, atol=1e-12)
    assert torch.allclose(other.grad, beta * wrong, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_policy_that_is_its_reference_loses_log_two(loss: Loss) -> None:
    same = torch.tensor([-9.0, -20.0], dtype=torch.float64)
    other = torch.tensor([-4.0, -33.0], dtype=torch.float64)
    assert loss(same, other, same, other, 0.5).tolist() == pytest.approx([math.log(2.0)] * 2, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_margin_of_a_thousand_nats_neither_overflows_nor_vanishes(loss: Loss) -> None:
    zero, far = torch.zeros(1, dtype=torch.float64), torch.tensor([-2000.0], dtype=torch.float64)
    assert loss(far, zero, zero, zero, 0.5).item() == pytest.approx(1000.0)
    assert loss(zero, far, zero, zero, 0.5).item() == pytest.approx(0.0, abs=1e-12)
