"""A pool of equal workers for one stage: brings them up, hands out work, and replaces the dead (`max_restarts=0`: Ray restarts none).

    STARTING --up--> STALE --prepared--> IDLE <--> BUSY
        \\______________\\_________________\\_______\\--> (dead: replaced by a new STARTING worker)

A worker is STALE until `prepare` has run on it for the pool's current generation (for the policy: until it holds verified current
weights), and takes no work before. A lost worker's call raises `WorkerLost`; the caller issues its shard again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from caig_rl.errors import UserError

logger = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""Workers that die before they are ready, one after another, before the pool gives up."""


class PoolError(UserError):
    """A pool that cannot bring its workers up."""


class WorkerLost(RuntimeError):
    """The worker died under a call."""


class WorkerState(Enum):
    """What a worker can be asked for."""

    STARTING = auto()
    STALE = auto()
    IDLE = auto()
    BUSY = auto()


@dataclass(slots=True, eq=False)
class _Worker:
    name: str
    handle: Any
    state: WorkerState = WorkerState.STARTING
    generation: int = -1


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call came to."""

    meta: Any
    """The method's first return value."""
    payload: ray.ObjectRef
    """Its second, in the object store; owned by this process, so it survives the worker."""
    worker: str
    """Name of the worker, for logs and the ledger."""


class WorkerPool:
    """Workers of one stage. Every worker serves one call at a time; calls wait for an idle one in order of arrival."""

    def __init__(
        self, name: str, spawn: Callable[[], Any], size: int, timeout_s: float, prepare: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        """Nothing starts yet.

        Args:
            name: of the stage, for messages.
            spawn: makes one actor handle; the actor has a method `ready`.
            size: workers to keep alive.
            timeout_s: longest wait for a worker to come up.
            prepare: makes a worker current (for the policy: syncs and verifies weights); its exceptions fail the pool.
        """
        self.name, self.size = name, size
        self._spawn, self._timeout_s, self._prepare = spawn, timeout_s, prepare
        self._workers: list[_Worker] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._generation, self._spawned, self._failed_starts = 0, 0, 0
        self._failure: BaseException | None = None
        self._closed = False
        self.replaced = 0
        """Workers that died and were replaced."""

    async def start(self) -> None:
        """Bring all workers up and make them current. Raises PoolError where they do not come up in time."""
        for _ in range(self.size):
            self._bring_up()
        async with self._changed:
            await self._wait_until(lambda: all(worker.state is WorkerState.IDLE for worker in self._workers))

    async def refresh(self) -> None:
        """Workers must hold something new (weights): `prepare` each, once its call is done. Returns when all are current."""
        async with self._changed:
            self._generation += 1
            for worker in self._workers:
                if worker.state is WorkerState.IDLE:
                    worker.state = WorkerState.STALE
                    self._spawn_task(self._make_current(worker))
            await self._wait_until(lambda: all(worker.generation == self._generation for worker in self._workers))

    async def call(self, method: str, *arguments: Any) -> Reply:
        """Run a method that returns (meta, payload) on an idle worker.

        Raises:
            WorkerLost: the worker died; the pool is replacing it already.
            ray.exceptions.RayTaskError: the method raised; the worker lives on.
            PoolError: no worker can be brought up any more.
        """
        worker = await self._acquire()
        try:
            meta, payload = getattr(worker.handle, method).options(num_returns=2).remote(*arguments)
            return Reply(await meta, payload, worker.name)
        except RayActorError as error:
            await self._lose(worker, error)
            raise WorkerLost(f"{worker.name} died during {method}: {_first_line(error)}") from error
        finally:
            await self._release(worker)

    def workers(self) -> list[tuple[str, WorkerState, int]]:
        """Name, state, and generations behind the pool's current one, of every worker that there is."""
        return [(worker.name, worker.state, self._generation - worker.generation) for worker in self._workers]

    async def close(self) -> None:
        """Stop all workers. Work under way is lost."""
        self._closed = True
        for task in list(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for worker in self._workers:
            ray.kill(worker.handle)
        self._workers = []

    async def _acquire(self) -> _Worker:
        async with self._changed:
            await self._wait_until(lambda: any(worker.state is WorkerState.IDLE for worker in self._workers))
            worker = next(worker for worker in self._workers if worker.state is WorkerState.IDLE)
            worker.state = WorkerState.BUSY
            return worker

    async def _release(self, worker: _Worker) -> None:
        async with self._changed:
            if worker in self._workers:
                worker.state = WorkerState.IDLE if worker.generation == self._generation else WorkerState.STALE
                if worker.state is WorkerState.STALE:
                    self._spawn_task(self._make_current(worker))
            self._changed.notify_all()

    async def _lose(self, worker: _Worker, error: Exception) -> None:
        async with self._changed:
            if worker not in self._workers or self._closed:
                return
            logger.warning("%s died and is replaced: %s", worker.name, _first_line(error))
            self._workers.remove(worker)
            # An unavailable actor may still hold its memory; a dead one does not mind.
            if isinstance(error, ActorUnavailableError):
                ray.kill(worker.handle)
            self.replaced += 1
            self._bring_up()
            self._changed.notify_all()

    def _bring_up(self) -> None:
        worker = _Worker(f"{self.name}-{self._spawned}", self._spawn())
        self._spawned += 1
        self._workers.append(worker)
        self._spawn_task(self._await_ready(worker))

    def _spawn_task(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _await_ready(self, worker: _Worker) -> None:
        started = time.perf_counter()
        try:
            await asyncio.wait_for(_resolve(worker.handle.ready.remote()), self._timeout_s)
        except RayActorError as error:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                await self._fail(PoolError(f"{self._failed_starts} {self.name} workers in a row died while starting: {error}"))
            else:
                await self._lose(worker, error)
            return
        except TimeoutError:
            await self._fail(PoolError(self._shortage()))
            return
        self._failed_starts = 0
        logger.info("%s is up after %.1f s", worker.name, time.perf_counter() - started)
        async with self._changed:
            worker.state = WorkerState.STALE
            self._changed.notify_all()
        await self._make_current(worker)

    async def _make_current(self, worker: _Worker) -> None:
        """Prepare until the worker holds the current generation: another refresh may have come meanwhile."""
        while True:
            generation = self._generation
            try:
                if self._prepare is not None:
                    await self._prepare(worker.handle)
            except RayActorError as error:
                await self._lose(worker, error)
                return
            except Exception as error:  # whatever it is, the pool's users must see it: this task has no caller
                await self._fail(error)
                return
            async with self._changed:
                worker.generation = generation
                if generation == self._generation:
                    worker.state = WorkerState.IDLE
                    self._changed.notify_all()
                    return

    async def _fail(self, failure: BaseException) -> None:
        async with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        await self._changed.wait_for(lambda: self._failure is not None or condition())
        if self._failure is not None:
            raise self._failure

    def _shortage(self) -> str:
        total, free = ray.cluster_resources(), ray.available_resources()
        return (
            f"waited {self._timeout_s:.0f} s for {self.size} {self.name} worker(s); the cluster has {total.get('CPU', 0):g} CPUs "
            f"({free.get('CPU', 0):g} free) and {total.get('GPU', 0):g} GPUs ({free.get('GPU', 0):g} free). "
            f"Ask for less in pools.{self.name}, add nodes, or raise cluster.start_timeout_s."
        )


async def _resolve(ref: ray.ObjectRef) -> Any:
    return await ref


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
