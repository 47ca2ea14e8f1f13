from __future__ import annotations

import pytest

from caig_rl.ablation.training_curve import CurvePoint, painted_to_half, training_curve

ROWS = [
    {"round": 0, "ctr": 0.02, "creatives": {"painted": 100}},
    {"round": 1, "ctr": None, "creatives": {"painted": 90}},
    {"round": 2, "ctr": 0.03, "creatives": {"painted": 100}},
]


def test_a_round_stands_at_what_was_painted_before_it_and_one_that_nobody_judged_is_left_out() -> None:
    assert training_curve(ROWS) == (CurvePoint(0, 0.02), CurvePoint(190, 0.03))


@pytest.mark.parametrize(
    ("lift", "painted"),
    [
        (0.5, 50.0),  # half is +25 %: midway to the +50 % that the second round has
        (1.2, 100 + 100 * 0.1 / 0.7),  # half is +60 %: between the second round and the end
        (-0.1, None),
    ],
)
def test_half_the_lift_is_read_off_the_line_between_rounds(lift: float, painted: float | None) -> None:
    found = painted_to_half([CurvePoint(0, 0.02), CurvePoint(100, 0.03)], 200, lift)
    assert found == (None if painted is None else pytest.approx(painted))


def test_nothing_was_reached_where_nothing_was_judged() -> None:
    assert painted_to_half([], 200, 0.3) is None
