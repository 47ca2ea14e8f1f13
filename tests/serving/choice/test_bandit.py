"""Thompson sampling: probabilities that are probabilities, that follow clicks, and that start from the prediction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caig_rl.serving.choice.bandit import Evidence, choice_probabilities, posterior


def evidence(predicted: list[float], counts: list[tuple[int, int]], other: list[tuple[int, int]] | None = None) -> Evidence:
    rest = other or [(0, 0)] * len(predicted)
    return Evidence(
        np.array(predicted), *(np.array(column, dtype=float) for column in zip(*counts, strict=True)),
        *(np.array(column, dtype=float) for column in zip(*rest, strict=True)),
    )  # fmt: skip


def probabilities(known: Evidence, exploration: float = 0.05, prior: float = 600.0) -> np.ndarray:
    return choice_probabilities(known, prior, exploration, np.random.default_rng(0), draws=4000)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 10**6), st.floats(0, 1)), min_size=1, max_size=8), st.floats(0, 1))
def test_probabilities_sum_to_one_and_keep_the_exploration_floor(rows: list[tuple[float, int, float]], exploration: float):
    known = evidence([row[0] for row in rows], [(row[1], int(row[1] * row[2])) for row in rows])
    found = choice_probabilities(known, 600.0, exploration, np.random.default_rng(0))
    assert found.sum() == pytest.approx(1.0)
    assert (found >= exploration / len(rows) - 1e-12).all()


def test_without_clicks_the_better_predicted_creative_is_shown_more():
    low, high = probabilities(evidence([0.015, 0.025], [(0, 0), (0, 0)]))
    assert 0.7 < high < 0.97
    assert low > 0.025


def test_enough_clicks_overrule_the_prediction():
    low, high = probabilities(evidence([0.015, 0.025], [(50_000, 1500), (50_000, 1000)]))
    assert low == pytest.approx(0.975)
    assert high == pytest.approx(0.025)


def test_equal_creatives_share_evenly():
    found = probabilities(evidence([0.02] * 4, [(1000, 20)] * 4))
    np.testing.assert_allclose(found, 0.25, atol=0.03)


def test_a_prediction_at_the_wrong_level_does_not_favour_what_was_not_shown_yet():
    """The model says 5 % where 1 % is true: without the level's correction the creative without impressions would win for long."""
    known = evidence([0.05, 0.05], [(20_000, 200), (0, 0)])
    alpha, beta = posterior(known, 600.0)
    np.testing.assert_allclose(alpha / (alpha + beta), 0.01, rtol=0.1)


def test_the_posterior_without_other_segments_is_the_beta_of_the_docstring():
    known = evidence([0.02, 0.02], [(100, 2), (100, 2)])  # as predicted: the level stays 1
    alpha, beta = posterior(known, 600.0)
    np.testing.assert_allclose(alpha, 600 * 0.02 + 2)
    np.testing.assert_allclose(beta, 600 * 0.98 + 98)


def test_other_segments_inform_a_new_one_and_its_own_clicks_overrule_them():
    others = [(50_000, 1500), (50_000, 1000)]
    first, second = probabilities(evidence([0.02, 0.02], [(0, 0), (0, 0)], others))
    assert first > 0.8 > 0.2 > second
    turned = probabilities(evidence([0.02, 0.02], [(50_000, 1000), (50_000, 1500)], others))
    assert turned[1] == pytest.approx(0.975, abs=0.01)
