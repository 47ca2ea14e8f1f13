from __future__ import annotations

import itertools

from actors.rollout.pool_autoscaler import Autoscaler, Decision, Limits, Load
from tests.actors.rollout.test_worker_health import Clock

STEP_S = 2.0


def _scaler(clock: Clock, least: int = 1, most: int = 8) -> Autoscaler:
    return Autoscaler({"renderer": Limits(least, most)}, clock, window_s=20.0, grow_at=1.0)


def _observed(scaler: Autoscaler, clock: Clock, load: Load, seconds: float) -> list[Decision]:
    """Show the same load for a while; the size follows each decision."""
    decided: list[Decision] = []
    for _ in range(int(seconds / STEP_S)):
        clock.advance(STEP_S)
        for decision in scaler.decide({"renderer": load}):
            load = Load(decision.after, load.waiting, load.idle, load.starting)
            decided.append(decision)
    return decided


def test_a_pool_that_is_waited_for_grows_after_a_window_and_says_why() -> None:
    clock = Clock()
    scaler = _scaler(clock)
    queue = Load(size=2, waiting=6, idle=0, starting=0)
    assert _observed(scaler, clock, queue, 18.0) == []
    (decision,) = _observed(scaler, clock, queue, 6.0)
    assert (decision.before, decision.after) == (2, 4)
    assert decision.reason == "3.0 shards waited for each worker, on average over 20 s"


def test_it_grows_no_further_than_what_waits_and_than_its_limit() -> None:
    clock = Clock()
    assert _observed(_scaler(clock), clock, Load(4, waiting=5, idle=0, starting=0), 24.0)[0].after == 8
    assert _observed(_scaler(clock, most=5), clock, Load(4, waiting=40, idle=0, starting=0), 24.0)[0].after == 5
    assert _observed(_scaler(clock, most=5), clock, Load(5, waiting=40, idle=0, starting=0), 100.0) == []


def test_while_workers_are_on_their_way_up_it_waits_for_them() -> None:
    clock = Clock()
    assert _observed(_scaler(clock), clock, Load(4, waiting=40, idle=0, starting=1), 100.0) == []


def test_after_a_change_the_pool_is_observed_for_a_whole_window_again() -> None:
    clock = Clock()
    decided = _observed(_scaler(clock), clock, Load(1, waiting=9, idle=0, starting=0), 100.0)
    assert [(one.before, one.after) for one in decided] == [(1, 2), (2, 4), (4, 8)]
    assert all(later.at_s - earlier.at_s >= 20.0 for earlier, later in itertools.pairwise(decided))


def test_a_pool_with_nothing_to_do_shrinks_one_by_one_to_its_least() -> None:
    clock = Clock()
    decided = _observed(_scaler(clock, least=2), clock, Load(4, waiting=0, idle=2, starting=0), 200.0)
    assert [(one.before, one.after) for one in decided] == [(4, 3), (3, 2)]
    assert "nothing to do for 20 s" in decided[0].reason


def test_a_burst_shorter_than_the_window_changes_nothing() -> None:
    clock = Clock()
    scaler = _scaler(clock)
    for _ in range(10):
        assert _observed(scaler, clock, Load(4, waiting=12, idle=0, starting=0), 6.0) == []
        assert _observed(scaler, clock, Load(4, waiting=0, idle=4, starting=0), 14.0) == []


def test_between_the_two_lines_nothing_happens() -> None:
    clock = Clock()
    assert _observed(_scaler(clock), clock, Load(4, waiting=2, idle=1, starting=0), 200.0) == []
    assert _observed(_scaler(clock), clock, Load(4, waiting=0, idle=0, starting=0), 200.0) == []
