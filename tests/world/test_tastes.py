"""What the frozen constants promise (DESIGN, section 6), on scenes seen with certainty."""

from itertools import product as combinations

import numpy as np
import pytest

from caig_rl.world.suitability import SUITABLE, TRAP_PROP, TRAP_WALL
from caig_rl.world.tastes import BASE_LOG_ODDS, BASE_SPREAD, SEGMENT_SHARES, Tastes
from caig_rl.world.vocabulary import ATTRIBUTES, LIGHTS, PALETTES, SURFACES, SceneSpec

SHARES = np.array(SEGMENT_SHARES)


def worth(tastes: Tastes, category: int, spec: SceneSpec) -> float:
    certain = {name: np.eye(len(values))[getattr(spec, name)] for name, values in ATTRIBUTES.items()}
    return float(SHARES @ tastes.utility(category, certain))


def relevant_and_trap(tastes: Tastes, category: int, name: str) -> tuple[list[float], list[float]]:
    suitable = SUITABLE[name]
    choices = combinations(suitable.surface, suitable.wall, suitable.prop, range(len(LIGHTS)), range(len(PALETTES)))
    relevant = [worth(tastes, category, SceneSpec(*choice)) for choice in choices]
    around = combinations(range(len(SURFACES)), range(len(LIGHTS)), range(len(PALETTES)))
    trap = [worth(tastes, category, SceneSpec(s, TRAP_WALL, TRAP_PROP, light, palette)) for s, light, palette in around]
    return relevant, trap


@pytest.mark.parametrize("seed", range(4))
def test_the_trap_lies_between_the_median_and_the_best_relevant_scene_over_categories(seed: int):
    tastes = Tastes.draw(seed)
    rows = [relevant_and_trap(tastes, index, name) for index, name in enumerate(SUITABLE)]
    medians = np.array([(np.median(relevant), np.median(trap), max(relevant)) for relevant, trap in rows])
    assert medians[:, 0].mean() < medians[:, 1].mean() < medians[:, 2].mean()
    assert (medians[:, 1] < medians[:, 2]).all()


def test_the_trap_is_worth_the_same_whatever_the_surface():
    tastes = Tastes.draw(0)
    values = [worth(tastes, 0, SceneSpec(surface, TRAP_WALL, TRAP_PROP, 0, 0)) for surface in range(len(SURFACES))]
    assert np.ptp(values) < 1e-12


def test_the_trap_suits_no_category():
    for suitable in SUITABLE.values():
        assert TRAP_WALL not in suitable.wall
        assert TRAP_PROP not in suitable.prop


def test_tastes_are_the_same_for_the_same_seed_and_differ_between_seeds():
    first, again, other = Tastes.draw(3), Tastes.draw(3), Tastes.draw(4)
    np.testing.assert_array_equal(first.tables["wall"], again.tables["wall"])
    assert np.abs(first.tables["wall"] - other.tables["wall"]).max() > 0.1


def test_click_through_rates_of_ordinary_products_stay_between_half_a_percent_and_six():
    tastes = Tastes.draw(0)
    for index, name in enumerate(SUITABLE):
        relevant, _ = relevant_and_trap(tastes, index, name)
        for base in (BASE_LOG_ODDS - 2 * BASE_SPREAD, BASE_LOG_ODDS + 2 * BASE_SPREAD):
            for value in (max(relevant), -0.5):
                assert 0.005 < 1 / (1 + np.exp(-(base + value))) < 0.06
