"""The weight of the product-centric term, and the gradient norms that it goes by."""

from __future__ import annotations

import math

import pytest
import torch

from caig_rl.learning.preference.term_balance import GradientNorm, balanced_weight


@pytest.mark.parametrize(
    ("weight", "objective", "product_centric", "balanced"),
    [
        (1.0, 10.3, 13.8, 10.3 / 13.8),
        (2.0, 10.0, 8.0, 1.25),
        (2.0, 10.0, 5.0, 2.0),
        (2.0, 10.0, 0.0, 2.0),
        (1.0, 0.0, 5.0, 0.0),
        (1.0, 0.0, 0.0, 1.0),
    ],
)
def test_the_weighed_gradient_is_no_longer_than_the_objectives(
    weight: float, objective: float, product_centric: float, balanced: float
) -> None:
    assert balanced_weight(weight, objective, product_centric) == pytest.approx(balanced)
    assert balanced * product_centric <= objective + 1e-9


def test_a_norm_that_is_no_number_leaves_the_weight_so_that_one_bad_batch_does_not_spoil_a_round() -> None:
    assert balanced_weight(0.5, math.nan, 2.0) == balanced_weight(0.5, 1.0, math.nan) == 0.5


def test_the_norm_is_that_of_the_sum_over_micro_batches_and_leaves_the_gradients_alone() -> None:
    weight, frozen = torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.nn.Parameter(torch.ones(3), requires_grad=False)
    unused = torch.nn.Parameter(torch.ones(5))
    norm = GradientNorm([weight, frozen, unused])
    norm.add((weight * torch.tensor([6.0, 2.0])).sum())
    norm.add((weight * torch.tensor([-3.0, 2.0])).sum())
    assert norm.value(world_size=1) == pytest.approx(math.hypot(3.0, 4.0))
    assert weight.grad is None
