from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from caig_rl.statistics import (
    Interval,
    MeanDifference,
    bootstrap_lift_interval,
    crossed_interval,
    distinct_share,
    lift,
    mean_difference,
    paired_interval,
    pairwise_accuracy,
    t_interval,
    wilson_interval,
)


def test_lift_is_the_relative_change() -> None:
    assert lift(0.02, 0.025) == pytest.approx(0.25)
    assert lift(0.02, 0.01) == pytest.approx(-0.5)


def test_lift_refuses_an_initial_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="positive, not 0"):
        lift(0.0, 0.1)


def test_bootstrap_of_two_products_gives_their_own_lifts_as_bounds() -> None:
    # Draws of two from two: lifts 0.1, 0.2, 0.3 with chances 1/4, 1/2, 1/4, so both tails hold more than 2.5 %.
    assert bootstrap_lift_interval([1.0, 1.0], [1.1, 1.3], resamples=1000, seed=0) == pytest.approx((0.1, 0.3))


def test_bootstrap_has_no_width_where_every_product_gains_alike() -> None:
    initial = np.linspace(0.01, 0.05, 20)
    assert bootstrap_lift_interval(initial, 1.25 * initial, resamples=200, seed=1) == pytest.approx((0.25, 0.25))


def test_bootstrap_is_of_the_ratio_of_means_not_of_the_mean_of_ratios() -> None:
    low, high = bootstrap_lift_interval([0.001] * 50 + [0.1] * 50, [0.002] * 50 + [0.1] * 50, resamples=500, seed=0)
    assert 0.0 < low < 0.0505 / 5.05 < high < 0.03


def test_bootstrap_agrees_with_the_delta_method_on_many_products() -> None:
    rng = np.random.default_rng(0)
    initial = rng.uniform(0.01, 0.04, 2000)
    final = initial * rng.normal(1.1, 0.2, 2000)
    ratio = final.mean() / initial.mean()
    half = 1.96 * (final - ratio * initial).std(ddof=1) / math.sqrt(2000) / initial.mean()
    low, high = bootstrap_lift_interval(initial, final, resamples=4000, seed=0)
    assert low == pytest.approx(ratio - 1 - half, abs=0.1 * half)
    assert high == pytest.approx(ratio - 1 + half, abs=0.1 * half)


def test_bootstrap_repeats_with_its_seed() -> None:
    initial, final = np.random.default_rng(0).uniform(0.01, 0.04, (2, 30))
    assert bootstrap_lift_interval(initial, final, 300, seed=5) == bootstrap_lift_interval(initial, final, 300, seed=5)
    assert bootstrap_lift_interval(initial, final, 300, seed=5) != bootstrap_lift_interval(initial, final, 300, seed=6)


@pytest.mark.parametrize(
    ("initial", "final", "words"),
    [
        ([0.1], [0.2], "N >= 2"),
        ([0.1, 0.2], [0.1], "same shape"),
        ([0.0, 0.1], [0.1, 0.1], "positive"),
        ([0.1, math.nan], [0.1, 0.1], "finite"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(initial: list[float], final: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bootstrap_lift_interval(initial, final)


def test_t_interval_of_one_to_five_is_the_textbooks() -> None:
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-6)


def test_t_interval_of_equal_values_has_no_width() -> None:
    assert t_interval([0.0, 0.0, 0.0]) == (0.0, 0.0)


def test_t_interval_refuses_a_single_value() -> None:
    with pytest.raises(ValueError, match="two values"):
        t_interval([1.0])


def test_paired_interval_is_that_of_scipys_paired_t_test() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert paired_interval(a, b) == pytest.approx((expected.low, expected.high))


def _named(values: np.ndarray, first: int = 0) -> dict[str, float]:
    return {f"u{first + index}": float(value) for index, value in enumerate(values)}


def test_a_difference_of_means_of_the_same_units_has_the_paired_standard_error() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 9))
    found = mean_difference(_named(a), _named(b))
    assert found == pytest.approx((float((a - b).mean()), float((a - b).std(ddof=1) / 3.0)))


def test_a_difference_of_means_of_other_units_has_welchs_standard_error() -> None:
    a, b = np.random.default_rng(2).normal(size=9), np.random.default_rng(3).normal(size=5)
    found = mean_difference(_named(a), _named(b, 100))
    result = stats.ttest_ind(a, b, equal_var=False)
    assert found.difference / found.standard_error == pytest.approx(result.statistic)


def test_units_that_both_sides_share_in_part_lie_between() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(size=20)
    a, b = shared + 0.1 * rng.normal(size=20), shared + 0.1 * rng.normal(size=20)
    half = mean_difference(_named(a), _named(b[10:], 10) | _named(b[:10], 100))
    errors = [mean_difference(_named(a), _named(b, first)).standard_error for first in (0, 100)]
    assert errors[0] < half.standard_error < errors[1]


def test_a_difference_is_clear_beyond_twice_its_standard_error_and_one_of_no_spread_at_once() -> None:
    assert MeanDifference(0.21, 0.1).is_clear and not MeanDifference(0.19, 0.1).is_clear and not MeanDifference(-0.5, 0.1).is_clear
    assert mean_difference(_named(np.ones(3)), _named(np.zeros(3))) == (1.0, 0.0)
    with pytest.raises(ValueError, match="two units on each side, not 3 and 1"):
        mean_difference(_named(np.ones(3)), _named(np.ones(1)))


def test_wilson_interval_of_eight_in_ten_is_the_textbooks() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_what_is_no_share(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(successes, trials)


def test_pairwise_accuracy_counts_pairs_within_groups_only() -> None:
    # Group a: 3 pairs, of which (0, 1) is wrong. Group b: 1 pair, right. Across groups nothing counts.
    scores, ctr = [2.0, 1.0, 3.0, -9.0, -8.0], [0.01, 0.02, 0.03, 0.05, 0.06]
    assert pairwise_accuracy(scores, ctr, ["a", "a", "a", "b", "b"]) == 3 / 4


def test_pairwise_accuracy_gives_half_for_equal_scores_and_leaves_equal_rates_out() -> None:
    assert pairwise_accuracy([1.0, 1.0, 0.0], [0.1, 0.2, 0.1], [0, 0, 0]) == (0.5 + 1.0) / 2


def test_pairwise_accuracy_refuses_creatives_without_an_order() -> None:
    with pytest.raises(ValueError, match="no two creatives"):
        pairwise_accuracy([1.0, 2.0], [0.1, 0.2], ["a", "b"])


def test_distinct_share_ignores_case_and_spacing() -> None:
    assert distinct_share(["Oak table", "oak  table ", "marble", "linen"]) == 0.75


def test_distinct_share_refuses_no_texts() -> None:
    with pytest.raises(ValueError, match="at least one"):
        distinct_share([])


@pytest.mark.parametrize(("interval", "excludes"), [((0.1, 0.2), True), ((-0.2, -0.1), True), ((-0.1, 0.1), False), ((0.0, 0.1), False)])
def test_an_interval_knows_whether_it_excludes_zero(interval: tuple[float, float], excludes: bool) -> None:
    assert Interval(*interval).excludes_zero is excludes


def test_an_interval_over_seeds_and_products_has_the_mean_squares_worked_out_by_hand() -> None:
    # Mean squares 9 (seeds), 4 (products), 1 (rest): variance (9 + 4 - 1) / 4, degrees of freedom 12^2 / (9^2 + 4^2 + 1^2).
    half = stats.t.ppf(0.975, 144 / 98) * math.sqrt(3.0)
    assert crossed_interval([[1.0, 2.0], [3.0, 6.0]]) == pytest.approx((3.0 - half, 3.0 + half))


def test_where_products_are_all_alike_it_is_the_t_interval_over_seeds_and_the_other_way_round() -> None:
    of_each = np.array([0.3, 0.5, 0.4])
    alike = np.repeat(of_each[:, None], 20, axis=1)
    assert crossed_interval(alike) == pytest.approx(t_interval(of_each))
    assert crossed_interval(alike.T) == pytest.approx(t_interval(of_each))
    assert crossed_interval(np.full((2, 2), 0.3)) == pytest.approx((0.3, 0.3))


def test_an_interval_over_seeds_and_products_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1500):
        values = rng.normal(0, 0.05, (5, 1)) + rng.normal(0, 0.3, (1, 24)) + rng.normal(0, 0.2, (5, 24))
        low, high = crossed_interval(values)
        held += low <= 0.0 <= high
    assert held / 1500 == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0], [2.0]], [1.0, 2.0], [[1.0, math.nan], [1.0, 1.0]]])
def test_an_interval_over_seeds_and_products_needs_two_finite_values_of_each(values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"two of each|not finite"):
        crossed_interval(values)
