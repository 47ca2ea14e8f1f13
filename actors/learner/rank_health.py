"""Waits for the answers of all ranks of the learner, and for none that is gone or has stopped. Plain asyncio, with an injected clock.

A rank is judged by progress, as a pool's worker is: a call is a series of steps (micro-batches and optimiser steps of a round; one step for
all other calls), and a group with a rank that takes no step within its patience is lost. A frozen process, a hung kernel and a partner that
waits for it in a collective all look like that, and none of them can be asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from actors.cluster.stall_deadline import Patience
from actors.cluster.worker_death import first_line, went_with_its_node
from caig_rl.wording import duration

T = TypeVar("T")

DEATH_NOTICE_S = 30.0
"""Longest time between a rank's death and Ray's word of it: a node that is cut off is given up after 13.5 s by Ray's own settings."""
LOOK_S = 1.0
"""Time between two looks for ranks without progress."""


class LearnerLost(RuntimeError):
    """A rank, its progress, or an object that it or a policy worker needs is gone: the group must be re-formed."""

    def __init__(self, message: str, reason: str = "died") -> None:
        """`reason`: "died", "hung", or "node" where it went away with a node."""
        super().__init__(message)
        self.reason = reason


class Pace:
    """How the ranks move on in one call."""

    def __init__(self, patience: Patience, num_ranks: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`patience`: of all calls of this kind, so that it grows with the longest step so far."""
        self._patience, self._clock = patience, clock
        self._since = [clock()] * num_ranks

    def moved(self, rank: int) -> None:
        """`rank` took a step."""
        now = self._clock()
        self._patience.observe(now - self._since[rank])
        self._since[rank] = now

    def stalled(self, ranks: Collection[int]) -> str:
        """Which of `ranks` has stood still for longest, and how long, where that is beyond the patience; else empty."""
        rank = min(ranks, key=self._since.__getitem__)
        still = self._clock() - self._since[rank]
        return f"rank {rank} made no progress for {duration(still)}" if still > self._patience.deadline_s else ""


async def from_all_ranks(answers: Sequence[Awaitable[T]], method: str, pace: Pace, look_s: float = LOOK_S) -> list[T]:
    """Every rank's answer, in order of rank.

    Raises:
        LearnerLost: a rank died, or stood still; what the first rank that failed raised, where the group lives on.
    """
    tasks = [asyncio.ensure_future(_paced(answer, pace, rank)) for rank, answer in enumerate(answers)]
    try:
        while waiting := [rank for rank, task in enumerate(tasks) if not task.done()]:
            await asyncio.wait(tasks, timeout=look_s, return_when=asyncio.FIRST_EXCEPTION)
            if any(_failed(task) for task in tasks):
                # Those that waited for a dead rank in a collective may fail before Ray knows of the death: the cause is worth a moment.
                await asyncio.wait(tasks, timeout=DEATH_NOTICE_S)
                break
            if still := [rank for rank in waiting if not tasks[rank].done()]:
                _raise_stalled(pace.stalled(still), method)
        _raise_first([error for task in tasks if (error := _failed(task)) is not None], method)
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()


async def last_of(stream: AsyncIterable[Awaitable[Any]], moved: Callable[[], None]) -> Any:
    """The last value of a stream of references; `moved` is called for each."""
    value = None
    async for ref in stream:
        value = await ref
        moved()
    return value


def _raise_stalled(stalled: str, method: str) -> None:
    if stalled:
        raise LearnerLost(f"the learner's {stalled} during {method}", "hung")


def _raise_first(errors: Sequence[BaseException], method: str) -> None:
    for error in errors:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, (RayActorError, ObjectLostError)):
            is_nodes = isinstance(cause, ObjectLostError) or went_with_its_node(cause)
            raise LearnerLost(f"the learner lost a rank during {method}: {first_line(error)}", "node" if is_nodes else "died") from error
    if errors:
        raise errors[0]


async def _paced(answer: Awaitable[T], pace: Pace, rank: int) -> T:
    result = await answer
    pace.moved(rank)
    return result


def _failed(task: asyncio.Future[Any]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
