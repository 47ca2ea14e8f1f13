"""The A/B verdict: right about differences, quiet without one however often one looks, and loud about a broken split."""

import numpy as np
import pytest

from caig_rl.evaluation.ab_test import Visitors, compare, evaluate_ab, holm, rho_squared, sample_ratio_p_value


def draw(rng: np.random.Generator, number: int, share: float = 0.5, live: float = 0.02, candidate: float = 0.02) -> Visitors:
    """Visitors with 1 to 9 impressions each and a taste of their own, so that impressions of one visitor hang together."""
    tried = rng.random(number) < share
    impressions = rng.integers(1, 10, number).astype(np.float64)
    rate = np.where(tried, candidate, live) * rng.gamma(2.0, 0.5, number)
    return Visitors(
        tried, np.full(number, share), impressions, rng.binomial(impressions.astype(int), np.minimum(rate, 1.0)).astype(np.float64)
    )


def head(visitors: Visitors, number: int) -> Visitors:
    return Visitors(visitors.tried[:number], visitors.share[:number], visitors.impressions[:number], visitors.clicks[:number])


def test_a_true_difference_is_found_and_lies_in_the_interval():
    result = evaluate_ab(draw(np.random.default_rng(0), 40_000, candidate=0.028), {})
    assert result.verdict == "candidate better"
    assert result.overall.interval is not None
    assert result.overall.interval.low < 0.008 < result.overall.interval.high
    assert result.overall.p_value < 0.05


def test_the_other_way_round_live_is_better():
    assert evaluate_ab(draw(np.random.default_rng(0), 40_000, live=0.028), {}).verdict == "live better"


def test_without_a_difference_looking_forty_times_a_day_rarely_finds_one():
    """Looked at 40 times, an ordinary 5 % test is wrong in about a quarter of the experiments; this one in at most 5 % of them."""
    rng, wrong, naive = np.random.default_rng(1), 0, 0
    for _ in range(200):
        visitors = draw(rng, 8000)
        looks = [compare(head(visitors, number), 0.05) for number in range(200, 8001, 200)]
        wrong += any(look.interval is not None and look.interval.excludes_zero for look in looks)
        naive += any(
            look.interval is not None and abs(look.difference) > 1.96 * (look.interval.high - look.difference) / _factor(count)
            for count, look in zip(range(200, 8001, 200), looks, strict=True)
        )
    assert wrong <= 0.05 * 200
    assert naive > 0.12 * 200


def _factor(number: int) -> float:
    rho2 = rho_squared(0.05)
    return float(np.sqrt(2 * (number * rho2 + 1) / (number * rho2) * np.log(np.sqrt(number * rho2 + 1) / 0.05)))


def test_the_variance_is_that_of_repeated_experiments():
    rng = np.random.default_rng(2)
    found = [compare(draw(rng, 2000), 0.05) for _ in range(300)]
    differences = np.array([one.difference for one in found])
    halves = np.array([one.interval.high - one.difference for one in found if one.interval is not None])
    assert halves.mean() / _factor(2000) == pytest.approx(differences.std(), rel=0.12)


def test_a_p_value_below_alpha_is_an_interval_without_zero():
    rng = np.random.default_rng(3)
    for candidate in (0.02, 0.024, 0.026, 0.03):
        one = compare(draw(rng, 10_000, candidate=candidate), 0.05)
        assert one.interval is not None
        assert (one.p_value < 0.05) == one.interval.excludes_zero


def test_a_broken_split_is_said_whatever_the_clicks_say():
    rng = np.random.default_rng(4)
    visitors = draw(rng, 20_000, share=0.5, candidate=0.03)
    lost = ~visitors.tried | (rng.random(20_000) < 0.9)  # a tenth of the candidate's visitors never reached the log
    kept = Visitors(visitors.tried[lost], visitors.share[lost], visitors.impressions[lost], visitors.clicks[lost])
    assert evaluate_ab(kept, {}).verdict == "broken"
    assert sample_ratio_p_value(visitors) > 0.001


def test_a_sound_split_looked_at_forty_times_is_rarely_called_broken():
    """The single-look p-value falls below 5 % at one of 40 looks in about a quarter of sound experiments."""
    rng, wrong, naive = np.random.default_rng(8), 0, 0
    for _ in range(400):
        visitors = draw(rng, 4000, share=0.1)
        surplus = np.cumsum(visitors.tried - visitors.share)[99::100]
        looks = [sample_ratio_p_value(head(visitors, number)) for number in range(100, 4001, 100)]
        wrong += min(looks) < 0.05
        naive += bool(np.any(np.abs(surplus) > 1.96 * np.sqrt(0.09 * np.arange(100, 4001, 100))))
    assert wrong <= 0.05 * 400
    assert naive > 0.12 * 400


def test_a_share_that_changed_during_the_experiment_is_no_broken_split():
    rng = np.random.default_rng(5)
    early, late = draw(rng, 5000, share=0.1), draw(rng, 5000, share=0.5)
    both = Visitors(*(np.concatenate(pair) for pair in zip(_columns(early), _columns(late), strict=True)))
    assert sample_ratio_p_value(both) > 0.001


def test_too_few_visitors_or_clicks_are_too_early():
    assert evaluate_ab(draw(np.random.default_rng(6), 150), {}).verdict == "too early"
    assert evaluate_ab(draw(np.random.default_rng(6), 2000, live=0.0, candidate=0.0), {}).verdict == "too early"
    empty = draw(np.random.default_rng(6), 0)
    assert evaluate_ab(empty, {}).verdict == "too early"


def test_categories_are_corrected_for_their_number():
    rng = np.random.default_rng(7)
    parts = {f"c{number}": draw(rng, 3000) for number in range(8)} | {"better": draw(rng, 30_000, candidate=0.035)}
    result = evaluate_ab(draw(rng, 3000), parts)
    assert [name for name, part in result.by_category.items() if part.p_value < 0.05] == ["better"]
    single = compare(parts["better"], 0.05)
    corrected = result.by_category["better"].interval
    assert single.interval is not None and corrected is not None
    assert corrected.high - corrected.low > single.interval.high - single.interval.low


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order():
    assert holm([0.03, 0.01, 0.5]) == pytest.approx([0.06, 0.03, 0.5])
    assert holm([]) == []


def _columns(visitors: Visitors) -> tuple[np.ndarray, ...]:
    return visitors.tried, visitors.share, visitors.impressions, visitors.clicks
