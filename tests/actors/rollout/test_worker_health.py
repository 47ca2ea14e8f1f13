from __future__ import annotations

import pytest

from actors.cluster.stall_deadline import Patience
from actors.rollout.worker_health import WorkerHealth, WorkerState


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def _serving(clock: Clock, patience: Patience) -> WorkerHealth:
    health = WorkerHealth(clock, patience)
    health.came_up()
    health.became_current(0)
    return health


def test_a_worker_takes_no_work_before_it_is_current() -> None:
    health = WorkerHealth(Clock(), Patience(10.0, 2.0))
    assert not health.takes_work
    health.came_up()
    assert (health.state, health.takes_work) == (WorkerState.STALE, False)
    health.became_current(3)
    assert health.takes_work and health.generation == 3


def test_a_worker_that_comes_back_to_a_newer_generation_is_stale() -> None:
    health = _serving(Clock(), Patience(10.0, 2.0))
    health.took_work()
    health.gave_back(generation=1)
    assert (health.state, health.takes_work) == (WorkerState.STALE, False)


def test_one_that_holds_work_past_the_deadline_is_stuck_and_an_idle_one_never_is() -> None:
    clock = Clock()
    health = _serving(clock, Patience(10.0, 2.0))
    clock.advance(1000.0)
    assert health.stuck_for_s() == 0.0
    health.took_work()
    clock.advance(10.0)
    assert health.stuck_for_s() == 0.0
    clock.advance(1.0)
    assert health.stuck_for_s() == 11.0


def test_one_that_does_not_become_current_is_stuck_too() -> None:
    clock = Clock()
    health = WorkerHealth(clock, Patience(10.0, 2.0))
    clock.advance(1000.0)
    assert health.stuck_for_s() == 0.0, "how long a start may take is the pool's to say"
    health.came_up()
    clock.advance(11.0)
    assert health.stuck_for_s() == 11.0
    health.progressed()
    assert health.stuck_for_s() == 0.0


def test_patience_grows_with_what_work_has_taken_so_far() -> None:
    clock, patience = Clock(), Patience(10.0, 2.0)
    health = _serving(clock, patience)
    health.took_work()
    clock.advance(9.0)
    health.gave_back(generation=0)
    assert patience.deadline_s == 18.0


def test_a_leaving_worker_keeps_its_call_and_takes_no_other() -> None:
    health = _serving(Clock(), Patience(10.0, 2.0))
    health.took_work()
    health.leave()
    assert health.holds_work
    health.gave_back(generation=0)
    assert not health.takes_work and not health.holds_work
    with pytest.raises(AssertionError, match="leaving"):
        health.took_work()


def test_two_calls_at_once_cannot_happen() -> None:
    health = _serving(Clock(), Patience(10.0, 2.0))
    health.took_work()
    with pytest.raises(AssertionError, match="from BUSY to BUSY"):
        health.took_work()
