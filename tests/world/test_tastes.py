"""What the frozen constants promise (DESIGN, section 6), on scenes seen with certainty."""

from itertools import product as combinations

import numpy as np
import pytest

from caig_rl.world.suitability import SUITABLE, TRAP_PROP, TRAP_WALL
from caig_rl.world.tastes import BASE_LOG_ODDS, BASE_SPREAD, SEGMENT_SHARES, SEGMENT_SPREAD, TRAP_SPREAD, TRAP_VALUE, Tastes, Trap
from caig_rl.world.vocabulary import ATTRIBUTES, LIGHTS, PALETTES, PROPS, SURFACES, WALLS, SceneSpec

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


def landmarks(tastes: Tastes) -> np.ndarray:
    """(categories, 3): median relevant scene, median trap, best relevant scene."""
    rows = [relevant_and_trap(tastes, index, name) for index, name in enumerate(SUITABLE)]
    return np.array([(np.median(relevant), np.median(trap), max(relevant)) for relevant, trap in rows])


@pytest.mark.parametrize("seed", range(4))
def test_the_trap_lies_between_the_median_and_the_best_relevant_scene_over_categories(seed: int):
    tastes = Tastes.draw(seed)
    medians = landmarks(tastes)
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


@pytest.mark.parametrize("seed", range(6))
def test_a_varied_trap_lies_between_the_median_and_the_best_relevant_scene_on_average(seed: int):
    medians = landmarks(Tastes.draw(seed, "varied"))
    assert medians[:, 0].mean() < medians[:, 1].mean() < medians[:, 2].mean()


@pytest.mark.parametrize("seed", range(6))
def test_a_varied_trap_is_a_poor_scene_to_some_categories_and_a_very_good_one_to_others(seed: int):
    median, trap, best = landmarks(Tastes.draw(seed, "varied")).T
    assert (trap < median).sum() >= 4 and (trap > median).sum() >= 4
    assert ((trap - median) / (best - median)).max() > 2 / 3


@pytest.mark.parametrize("seed", range(6))
def test_what_a_varied_trap_is_worth_to_any_product_is_the_same_and_misses_what_it_is_worth_to_most(seed: int):
    values = Tastes.draw(seed, "varied").trap_values
    assert values is not None
    assert values[:-1].mean() == pytest.approx(TRAP_VALUE) and values[-1] == TRAP_VALUE
    assert np.ptp(values[:-1]) == pytest.approx(2 * TRAP_SPREAD)
    # More than tastes for suitable surfaces differ (0.02 to 0.34), and far more than segments do.
    assert values[:-1].std() > max(0.32 / np.sqrt(12), 3 * SEGMENT_SPREAD)


def test_a_varied_trap_differs_between_worlds_and_is_the_same_in_one():
    first, again, other = (Tastes.draw(seed, "varied").trap_values for seed in (3, 3, 4))
    assert first is not None and again is not None and other is not None
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("trap", ["varied", False])
def test_all_but_the_trap_is_the_same_whatever_it_is(trap: Trap):
    usual, asked = Tastes.draw(2), Tastes.draw(2, trap)
    for category in range(len(SUITABLE)):
        spec = SceneSpec(1, 2, 3, 0, 1)
        assert worth(usual, category, spec) == worth(asked, category, spec)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_trap_a_neon_city_is_a_wall_that_nobody_minds_or_wants(seed: int):
    tastes = Tastes.draw(seed, False)
    for index, suitable in enumerate(SUITABLE.values()):
        walls = {
            wall: np.mean([worth(tastes, index, SceneSpec(s, wall, PROPS.index("no props"), 0, 0)) for s in range(len(SURFACES))])
            for wall in range(len(WALLS))
        }
        ranked = sorted(walls, key=walls.__getitem__, reverse=True)
        # Segments move a wall by about 0.04: the worst of three suitable ones may fall behind.
        assert ranked[0] in suitable.wall
        assert walls[ranked[0]] - walls[TRAP_WALL] > 0.15
    props = SHARES @ tastes.tables["prop"][:, 0]
    assert abs(props[TRAP_PROP]) < 4 * SEGMENT_SPREAD
    assert worth(tastes, 0, SceneSpec(0, TRAP_WALL, 0, 0, 0)) != worth(tastes, 0, SceneSpec(1, TRAP_WALL, 0, 0, 0))


@pytest.mark.parametrize("trap", [True, False, "varied"])
def test_click_through_rates_of_ordinary_products_stay_between_half_a_percent_and_six(trap: Trap):
    tastes = Tastes.draw(0, trap)
    for index, name in enumerate(SUITABLE):
        relevant, neon = relevant_and_trap(tastes, index, name)
        for base in (BASE_LOG_ODDS - 2 * BASE_SPREAD, BASE_LOG_ODDS + 2 * BASE_SPREAD):
            for value in (max(relevant), max(neon), -0.5):
                assert 0.005 < 1 / (1 + np.exp(-(base + value))) < 0.06
