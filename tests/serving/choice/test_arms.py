import numpy as np
import pytest
from scipy import stats

from caig_rl.serving.choice.arms import CANDIDATE, LIVE, Routing

VISITORS = [f"visitor-{number}" for number in range(20_000)]


def tried(routing: Routing) -> set[str]:
    return {visitor for visitor in VISITORS if routing.arm_of(visitor)[0] == CANDIDATE}


def test_a_visitor_keeps_the_arm_and_the_shares_are_the_asked_ones():
    routing = Routing("v1", "v2", 0.1)
    assert tried(routing) == tried(routing)
    assert stats.binomtest(len(tried(routing)), len(VISITORS), 0.1).pvalue > 1e-4
    assert {routing.arm_of(visitor) for visitor in VISITORS} == {(CANDIDATE, 0.1), (LIVE, 0.9)}


def test_more_traffic_moves_nobody_out_of_the_candidate_arm():
    assert tried(Routing("v1", "v2", 0.1)) < tried(Routing("v1", "v2", 0.3))


def test_another_candidate_draws_its_visitors_anew():
    first, second = tried(Routing("v1", "v2", 0.5)), tried(Routing("v1", "v3", 0.5))
    both = len(first & second) / len(VISITORS)
    assert both == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / len(VISITORS)))


def test_without_a_candidate_everybody_is_live():
    assert Routing("v1").arm_of("x") == (LIVE, 1.0)
    with pytest.raises(ValueError, match="candidate"):
        Routing("v1").version(CANDIDATE)


def test_an_arm_shows_its_own_version_first_and_then_older_ones_never_the_other_arm_of_an_experiment():
    routing = Routing("v2", "v3", 0.1, ("v1", "v0"))
    assert routing.shown_versions(CANDIDATE) == ["v3", "v2", "v1", "v0"]
    assert routing.shown_versions(LIVE) == ["v2", "v1", "v0"]
