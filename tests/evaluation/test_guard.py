"""When a guard has turned, and which version is best by it."""

from __future__ import annotations

import numpy as np
import pytest

from caig_rl.evaluation.guard import GuardedRound, judge_versions

NUM_PRODUCTS = 80


def guarded(version: int, guard: float, reward: float, first: int = 0) -> GuardedRound:
    """A round of 80 products from number `first` on, each off the means by its own fixed share, which spreads by 1."""
    offsets = np.random.default_rng(first).standard_normal(NUM_PRODUCTS)
    offsets = (offsets - offsets.mean()) / offsets.std()
    names = [f"p{first + index}" for index in range(NUM_PRODUCTS)]
    return GuardedRound(
        version,
        {name: reward + float(offset) for name, offset in zip(names, offsets, strict=True)},
        {name: guard + float(offset) for name, offset in zip(names, offsets, strict=True)},
    )


def test_before_the_first_round_there_is_no_verdict_and_after_it_none_has_turned() -> None:
    assert judge_versions([]) is None
    verdict = judge_versions([guarded(0, 0.5, 0.0)])
    assert verdict is not None and not verdict.turned
    assert (verdict.best.version, verdict.newest.version, verdict.fall.difference) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("guard", "reward", "turned"),
    [
        (0.6, 1.0, True),  # The standard error of two rounds of 80 products apart is sqrt(2 / 79) = 0.159.
        (0.7, 1.0, False),
        (0.6, -0.1, True),
        (0.6, -0.4, False),
        (1.2, 1.0, False),
    ],
)
def test_the_guard_has_turned_where_it_clearly_fell_and_the_reward_did_not(guard: float, reward: float, turned: bool) -> None:
    """Best is the second of three rounds, with a guard of 1 and a reward of 0; other products in each."""
    rounds = [guarded(0, 0.0, -1.0), guarded(1, 1.0, 0.0, 100), guarded(2, guard, reward, 200)]
    verdict = judge_versions(rounds)
    assert verdict is not None and verdict.turned is turned
    assert verdict.fall.standard_error == pytest.approx(np.sqrt(2 / 79) if guard < 1.0 else 0.0, abs=1e-6)
    assert verdict.best.version == (1 if guard < 1.0 else 2)


def test_where_both_rounds_have_the_same_products_they_are_paired() -> None:
    """A fall of a tenth of the spread between products, and the same for each: far too small for rounds of other products."""
    verdict = judge_versions([guarded(0, 1.0, 0.0), guarded(1, 0.9, 0.5)])
    assert verdict is not None and verdict.turned
    apart = judge_versions([guarded(0, 1.0, 0.0), guarded(1, 0.9, 0.5, 100)])
    assert apart is not None and not apart.turned


def test_a_guard_that_recovers_has_not_turned_and_the_first_of_equals_is_best() -> None:
    fallen = [guarded(0, 1.0, 0.0), guarded(1, 0.0, 0.5, 100)]
    verdict = judge_versions(fallen)
    assert verdict is not None and verdict.turned
    recovered = judge_versions([*fallen, guarded(2, 1.0, 0.6)])
    assert recovered is not None and not recovered.turned and recovered.best.version == 0 and recovered.rounds == 3
