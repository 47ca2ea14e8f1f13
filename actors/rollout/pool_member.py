"""One worker of a pool, and what a caller is told when it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.rollout.worker_health import WorkerHealth

T = TypeVar("T")


class WorkerLost(RuntimeError):
    """The worker died under a call, or held it without progress for too long."""

    def __init__(self, message: str, node_gone: bool = False) -> None:
        super().__init__(message)
        self.node_gone = node_gone
        """Its whole node went away, so the work it held is not to blame."""


@dataclass(slots=True, eq=False)
class PoolMember:
    """A worker as its pool knows it."""

    name: str
    handle: Any
    health: WorkerHealth
    gone: asyncio.Future[str]
    """Why the pool gave it up."""
    vacant_since: float | None
    """By the pool's clock: when the worker was lost whose place this one is to take; None where it is nobody's, or the place is filled."""
    node: str = ""
    """Id of the node it came up on."""


async def unless_gone(worker: PoolMember, answer: Awaitable[T]) -> T:
    """The worker's answer. Raises WorkerLost as soon as the pool gives the worker up, whatever becomes of the answer."""
    waited = asyncio.ensure_future(answer)
    either: set[asyncio.Future[Any]] = {waited, worker.gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if waited.done():
            return waited.result()
        raise WorkerLost(f"{worker.name} was given up: {worker.gone.result()}")
    finally:
        waited.cancel()
