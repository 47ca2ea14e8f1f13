"""Ranks that answer, die, fail or stand still, as plain coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ObjectLostError, RayTaskError

from actors.cluster.stall_deadline import Patience
from actors.learner.rank_health import LearnerLost, Pace, from_all_ranks, last_of
from tests.actors.rollout.test_worker_health import Clock


async def _answer(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def _ask(answers: list[Awaitable[Any]], pace: Pace) -> list[Any]:
    return asyncio.run(from_all_ranks(answers, "train", pace, look_s=0.001))


def _pace(clock: Clock, ranks: int = 2, floor_s: float = 10.0) -> Pace:
    return Pace(Patience(floor_s, 3.0), ranks, clock)


def test_every_ranks_answer_comes_in_order_of_rank() -> None:
    assert _ask([_answer(5), _answer(7)], _pace(Clock())) == [5, 7]


@pytest.mark.parametrize(
    "error",
    [ActorDiedError(), RayTaskError("train", "traceback", ObjectLostError("0" * 56, "", ""))],
    ids=["a dead rank", "a lost picture"],
)
def test_what_a_group_cannot_go_on_without_is_told_apart_from_a_failure(error: Exception) -> None:
    with pytest.raises(LearnerLost, match="lost a rank during train"):
        _ask([_answer(5), _answer(error)], _pace(Clock()))


def test_a_collective_that_failed_with_a_dead_rank_is_not_taken_for_the_cause() -> None:
    with pytest.raises(LearnerLost):
        _ask([_answer(RuntimeError("connection reset by peer")), _answer(ActorDiedError())], _pace(Clock()))


def test_what_a_living_rank_raised_is_raised() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        _ask([_answer(ValueError("no pairs")), _answer(ValueError("no pairs"))], _pace(Clock()))


def test_a_rank_that_stands_still_is_lost_even_where_the_other_has_answered() -> None:
    clock = Clock()

    async def frozen() -> None:
        clock.advance(11.0)
        await asyncio.Event().wait()

    with pytest.raises(LearnerLost, match="rank 1 made no progress for 11 s during train"):
        _ask([_answer(5), frozen()], _pace(clock))


def test_a_call_of_many_steps_may_take_as_long_as_it_likes_and_each_step_may_not() -> None:
    clock = Clock()

    async def steps(count: int, seconds: float) -> AsyncIterator[Awaitable[int]]:
        for number in range(count):
            clock.advance(seconds)
            await asyncio.sleep(0.003)
            yield _answer(number)

    pace = _pace(clock, ranks=1)
    assert _ask([last_of(steps(20, 9.0), partial(pace.moved, 0))], pace) == [19]
    pace = _pace(clock, ranks=1)
    with pytest.raises(LearnerLost, match="rank 0 made no progress for 31 s"):
        _ask([last_of(steps(1, 31.0), partial(pace.moved, 0))], pace)


def test_patience_grows_with_the_longest_step_of_its_kind() -> None:
    clock, patience = Clock(), Patience(10.0, 3.0)
    pace = Pace(patience, 2, clock)
    clock.advance(8.0)
    pace.moved(0)
    clock.advance(20.0)
    assert pace.stalled([0]) == "", "three times eight seconds"
    assert pace.stalled([0, 1]) == "rank 1 made no progress for 28 s"
    assert Pace(patience, 1, clock).stalled([0]) == ""
