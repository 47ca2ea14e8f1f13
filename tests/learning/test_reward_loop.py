"""The loop that all reward models share, on a model of one number."""

import math

import pytest
import torch
from torch import nn

from caig_rl.learning.reward_loop import Epoch, LoopSettings, train_loop


class _Number(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


def _train(model: _Number, targets: list[float], validation, **settings) -> tuple[Epoch, list[Epoch]]:
    seen: list[Epoch] = []
    best = train_loop(
        model,
        lambda epoch: targets,
        lambda target: (model.value - target) ** 2,
        validation,
        LoopSettings(**{"epochs": 5, "lr": 0.1, "weight_decay": 0.0} | settings),
        seen.append,
    )
    return best, seen


def test_the_weights_of_the_best_epoch_are_kept():
    model = _Number()
    losses = iter([0.5, 0.1, 0.3, 0.4, 0.9])
    values = []

    def validation() -> float:
        values.append(model.value.item())
        return next(losses)

    best, seen = _train(model, [1.0] * 4, validation)
    assert (best.number, len(seen)) == (2, 5)
    assert model.value.item() == values[1]
    assert not model.training


def test_training_stops_when_patience_is_over():
    losses = iter([0.5, 0.6, 0.7, 0.8, 0.9])
    _, seen = _train(_Number(), [1.0], lambda: next(losses), patience=2)
    assert [epoch.number for epoch in seen] == [1, 2, 3]


def test_a_step_without_a_number_changes_nothing_and_is_counted():
    model = _Number()
    best, _ = _train(model, [math.nan, 1.0], lambda: float((model.value - 1.0) ** 2), epochs=30)
    assert model.value.item() == pytest.approx(1.0, abs=0.1)
    assert best.dropped == best.number
    assert math.isfinite(best.train_loss)


def test_three_broken_steps_in_a_row_stop_at_the_last_good_epoch():
    model = _Number()
    batches = {1: [1.0, 1.0], 2: [1.0, math.nan, math.nan, math.nan, 1.0, 1.0]}
    good: list[float] = []

    def validation() -> float:
        good.append(model.value.item())
        return float(len(good))

    best = train_loop(
        model,
        lambda epoch: batches.get(epoch, [1.0]),
        lambda target: (model.value - target) ** 2,
        validation,
        LoopSettings(epochs=9, lr=0.1),
    )
    assert len(good) == 2
    assert (best.number, model.value.item()) == (1, good[0])


def test_nothing_finite_at_all_is_an_error():
    with pytest.raises(FloatingPointError, match="3 steps had none"):
        _train(_Number(), [math.nan] * 9, lambda: math.nan)
