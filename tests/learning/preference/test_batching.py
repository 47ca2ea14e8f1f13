"""The plan of an optimiser step gives the same mean gradient at any world size."""

from __future__ import annotations

from collections import Counter

import pytest

from caig_rl.learning.preference.batching import plan_steps


@pytest.mark.parametrize(
    ("rows", "batch", "micro", "world"), [(6, 4, 2, 1), (6, 4, 2, 2), (5, 4, 1, 4), (1, 4, 2, 2), (64, 16, 3, 2), (7, 3, 8, 3)]
)
def test_each_row_has_the_weight_of_the_steps_mean_exactly_once(rows: int, batch: int, micro: int, world: int) -> None:
    plans = [plan_steps(rows, batch, micro, rank, world) for rank in range(world)]
    for step in range(-(-rows // batch)):
        in_step = min(batch, rows - step * batch)
        weights: Counter[int] = Counter()
        for plan in plans:
            for part in plan[step]:
                assert len(part.rows) <= micro
                for row in part.rows:
                    # The group divides by its world size when it averages.
                    weights[row] += part.weight / world
        expected = {row: 1.0 / in_step for row in range(step * batch, step * batch + in_step)}
        assert {row: weight for row, weight in weights.items() if weight} == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "batch", "micro", "world"), [(5, 4, 1, 4), (1, 4, 2, 2), (9, 8, 2, 4)])
def test_all_ranks_take_the_same_number_of_forward_passes(rows: int, batch: int, micro: int, world: int) -> None:
    shapes = [[len(step) for step in plan_steps(rows, batch, micro, rank, world)] for rank in range(world)]
    assert all(shape == shapes[0] for shape in shapes)


def test_a_round_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        plan_steps(0, 4, 2, 0, 1)
