from __future__ import annotations

import pytest

from caig_rl.learning.preference.kl_control import FIRST_WEIGHT, adapted_kl_weight


def test_without_a_bound_the_weight_stays() -> None:
    assert adapted_kl_weight(0.3, 1e9, None) == 0.3


@pytest.mark.parametrize(("kl", "weight"), [(12.1, 0.2), (11.0, 0.1), (7.0, 0.05)])
def test_the_weight_doubles_beyond_the_bound_halves_well_within_and_stays_between(kl: float, weight: float) -> None:
    assert adapted_kl_weight(0.1, kl, 12.0) == weight


def test_a_policy_that_comes_back_within_its_bound_pays_nothing_in_the_end() -> None:
    weight = adapted_kl_weight(0.0, 20.0, 12.0)
    assert weight == FIRST_WEIGHT
    assert adapted_kl_weight(weight, 1.0, 12.0) == 0.0


def test_the_configured_weight_is_the_least() -> None:
    assert adapted_kl_weight(0.05, 1.0, 12.0, least=0.04) == 0.04
