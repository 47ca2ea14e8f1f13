"""A pool of equal workers for one stage: brings them up, hands out work, replaces the dead and the stuck, grows and shrinks.

Ray restarts none of them (`max_restarts=0`). `actors.rollout.worker_health` says what a worker may do: it takes no work before `prepare`
has run on it for the pool's current generation (for the policy: before it holds verified current weights). A lost worker's call raises
`WorkerLost`; the caller issues its shard again. A pool that shrinks, or leaves a node, lets its workers finish what they hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from actors.cluster.resource_wait import resources_in_words
from actors.cluster.stall_deadline import Patience
from actors.cluster.worker_death import first_line, is_gone, went_with_its_node
from actors.rollout.pool_autoscaler import Load
from actors.rollout.pool_member import PoolMember, WorkerLost, unless_gone
from actors.rollout.worker_health import WorkerHealth, WorkerState
from caig_rl.errors import UserError
from caig_rl.runs.events import RecordEvent, no_event
from caig_rl.wording import duration

logger = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""Workers that die before they are ready, one after another, before the pool gives up."""
LOOK_PERIOD_S = 1.0
"""Time between two looks for stuck workers."""


class PoolError(UserError):
    """A pool that cannot bring its workers up."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call came to."""

    meta: Any
    """The method's first return value."""
    payload: ray.ObjectRef
    """Its second, in the object store; owned by this process, so it survives the worker."""
    worker: str
    """Name of the worker, for logs and the record of outcomes."""


class WorkerPool:
    """Workers of one stage. Every worker serves one call at a time; calls wait for an idle one in order of arrival."""

    def __init__(
        self,
        name: str,
        spawn: Callable[[], Any],
        size: int,
        timeout_s: float,
        prepare: Callable[[Any], Awaitable[None]] | None = None,
        *,
        most: int | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        record_event: RecordEvent = no_event,
    ) -> None:
        """Nothing starts yet.

        Args:
            name: of the stage, for messages.
            spawn: makes one actor handle; the actor has a method `ready` that gives its node's id.
            size: workers at the start, and the fewest later.
            timeout_s: longest wait for a worker to come up.
            prepare: makes a worker current (for the policy: syncs and verifies weights); its exceptions fail the pool.
            most: workers that the pool may grow to; None: `size`.
            patience: how long a worker may hold work without progress; None: for ever.
            clock: seconds.
            record_event: is told of workers lost and replaced.
        """
        self.name, self.size, self.least, self.most = name, size, size, max(size, most or size)
        self._spawn, self._timeout_s, self._prepare, self._clock, self._record_event = spawn, timeout_s, prepare, clock, record_event
        self._patience = patience or Patience(float("inf"), 1.0)
        self._workers: list[PoolMember] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: set[PoolMember] = set()
        self._vacancies: deque[float] = deque()
        self._changed = asyncio.Condition()
        self._generation = self._spawned = self._failed_starts = self._waiting = 0
        self._failure: BaseException | None = None
        self._closed = False
        self.replaced = self.stuck = 0
        """Workers that were lost and replaced, and those among them that held work without progress."""

    async def start(self) -> None:
        """Bring all workers up and make them current. Raises PoolError where they do not come up in time."""
        self._adjust()
        self._spawn_task(self._look_for_losses())
        async with self._changed:
            await self._wait_until(lambda: all(worker.health.state is WorkerState.IDLE for worker in self._workers))

    async def refresh(self) -> None:
        """Workers must hold something new (weights): `prepare` each, once its call is done. Returns when all that are up are current.

        Those still on their way up are not waited for: they are made current before they serve.
        """
        async with self._changed:
            self._generation += 1
            for worker in self._workers:
                if worker.health.takes_work:
                    worker.health.went_stale()
                    self._spawn_task(self._make_current(worker))
            await self._wait_until(self._all_current)

    async def call(self, method: str, *arguments: Any) -> Reply:
        """Run a method that returns (meta, payload) on an idle worker.

        Raises:
            WorkerLost: the worker died or is stuck; the pool is replacing it already.
            ray.exceptions.RayTaskError: the method raised; the worker lives on.
            PoolError: no worker can be brought up any more.
        """
        worker = await self._acquire()
        try:
            meta, payload = getattr(worker.handle, method).options(num_returns=2).remote(*arguments)
            return Reply(await unless_gone(worker, meta), payload, worker.name)
        except RayActorError as error:
            message = f"{worker.name} died during {method}: {first_line(error)}"
            node_gone = error.preempted or is_gone(worker.node)
            await self._lose(worker, "node" if node_gone else "died", message)
            raise WorkerLost(message, node_gone) from error
        finally:
            await self._release(worker)

    async def resize(self, size: int) -> None:
        """Have `size` workers, between `least` and `most`: new ones join when they are current, those too many finish their call first."""
        async with self._changed:
            self.size = min(max(size, self.least), self.most)
            self._adjust()
            self._changed.notify_all()

    async def leave_nodes(self, nodes: set[str]) -> None:
        """These nodes are about to go: their workers take no new work, and their replacements start at once."""
        async with self._changed:
            for worker in [one for one in self._workers if one.node in nodes and not one.health.is_leaving]:
                logger.info("%s leaves its node, which is being drained", worker.name)
                self._vacate(worker, "drained", "left its node")
                self._dismiss(worker)
            self._adjust()
            self._changed.notify_all()

    def load(self) -> Load:
        """What the pool has to do now."""
        health = [worker.health for worker in self._workers if not worker.health.is_leaving]
        starting = sum(one.state is WorkerState.STARTING for one in health)
        return Load(self.size, self._waiting, sum(one.takes_work for one in health), starting)

    def ready(self) -> dict[str, Any]:
        """Names and actors of the workers that serve or could: for whoever injects faults, who must leave those alone that still start."""
        return {worker.name: worker.handle for worker in self._serving()}

    def nodes(self) -> dict[str, Any]:
        """Ids of the nodes that hold such workers, each with one of its actors."""
        return {worker.node: worker.handle for worker in self._serving()}

    def workers(self) -> list[tuple[str, WorkerState, int]]:
        """Name, state, and generations behind the pool's current one, of every worker that is to stay."""
        staying = [worker for worker in self._workers if not worker.health.is_leaving]
        return [(worker.name, worker.health.state, self._generation - worker.health.generation) for worker in staying]

    async def close(self) -> None:
        """Stop all workers. Work under way is lost."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in list(self._workers):
            self._remove(worker, "the pool was closed")

    async def _acquire(self) -> PoolMember:
        self._waiting += 1
        try:
            async with self._changed:
                await self._wait_until(lambda: any(worker.health.takes_work for worker in self._workers))
                worker = next(worker for worker in self._workers if worker.health.takes_work)
                worker.health.took_work()
                return worker
        finally:
            self._waiting -= 1

    async def _release(self, worker: PoolMember) -> None:
        async with self._changed:
            if worker in self._workers:
                worker.health.gave_back(self._generation)
                if worker.health.is_leaving:
                    self._remove(worker, "it finished its last call")
                elif worker.health.state is WorkerState.STALE:
                    self._spawn_task(self._make_current(worker))
            self._changed.notify_all()

    async def _lose(self, worker: PoolMember, reason: str, why: str) -> None:
        async with self._changed:
            if worker not in self._workers or self._closed:
                return
            logger.warning("%s is lost and replaced: %s", worker.name, why)
            self._remove(worker, why)
            self._vacate(worker, reason, why)
            self.replaced += 1
            self._adjust()
            self._changed.notify_all()

    def _vacate(self, worker: PoolMember, reason: str, why: str) -> None:
        if worker.health.is_leaving:  # its place was given up, or filled, before
            return
        self._vacancies.append(self._clock() if worker.vacant_since is None else worker.vacant_since)
        self._record_event("lost", self.name, reason, f"{worker.name}: {why.removeprefix(worker.name).strip()}")

    async def _look_for_losses(self) -> None:
        """Give up workers that hold work without progress, and those that died without any."""
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            for worker, seconds in [(one, one.health.stuck_for_s()) for one in self._workers]:
                if seconds:
                    self.stuck += 1
                    await self._lose(worker, "hung", f"{worker.name} made no progress for {duration(seconds)}")
            # Found out by its next call, an idle worker's death would look like that call's doing.
            for worker in self._workers:
                if worker.health.takes_work and worker not in self._asked:
                    self._asked.add(worker)
                    self._spawn_task(self._ask_whether_alive(worker))

    async def _ask_whether_alive(self, worker: PoolMember) -> None:
        try:
            await unless_gone(worker, worker.handle.ready.remote())
        except RayActorError as error:
            await self._lose(worker, _reason(error), f"it died while idle: {first_line(error)}")
        except WorkerLost:
            pass  # it is gone already
        finally:
            self._asked.discard(worker)

    def _adjust(self) -> None:
        """Start or dismiss workers until `size` are to stay."""
        staying = [worker for worker in self._workers if not worker.health.is_leaving]
        for _ in range(self.size - len(staying)):
            self._bring_up(self._vacancies.popleft() if self._vacancies else None)
        self._vacancies.clear()
        # First those that nobody misses: the newest that is still on its way up, then one without work.
        staying.sort(key=lambda worker: (worker.health.state is not WorkerState.STARTING, worker.health.holds_work))
        for worker in staying[: max(0, len(staying) - self.size)]:
            self._dismiss(worker)

    def _dismiss(self, worker: PoolMember) -> None:
        worker.health.leave()
        if not worker.health.holds_work:
            self._remove(worker, "it is not needed any more")

    def _remove(self, worker: PoolMember, why: str) -> None:
        self._workers.remove(worker)
        if not worker.gone.done():
            worker.gone.set_result(why)
        # It may live on with its memory: stuck, cut off, or well and dismissed. A dead one does not mind.
        ray.kill(worker.handle)

    def _bring_up(self, vacant_since: float | None) -> None:
        gone = asyncio.get_running_loop().create_future()
        worker = PoolMember(f"{self.name}-{self._spawned}", self._spawn(), WorkerHealth(self._clock, self._patience), gone, vacant_since)
        self._spawned += 1
        self._workers.append(worker)
        self._spawn_task(self._await_ready(worker))

    def _spawn_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, task: asyncio.Task[None]) -> None:
        """Nobody awaits these tasks: what one of them did not expect must fail the pool, or it would be lost."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._spawn_task(self._fail(error))

    async def _await_ready(self, worker: PoolMember) -> None:
        started = self._clock()
        try:
            worker.node = await asyncio.wait_for(unless_gone(worker, worker.handle.ready.remote()), self._timeout_s)
        except WorkerLost:
            return  # dismissed, or lost already
        except RayActorError as error:
            await self._lose_starting(worker, error)
            return
        except TimeoutError:
            await self._give_up_starting(worker)
            return
        logger.info("%s is up after %.1f s", worker.name, self._clock() - started)
        async with self._changed:
            if worker not in self._workers:
                return
            worker.health.came_up()
            self._changed.notify_all()
        await self._make_current(worker)

    async def _make_current(self, worker: PoolMember) -> None:
        """Prepare until the worker holds the current generation: another refresh may have come meanwhile."""
        while True:
            generation = self._generation
            try:
                if self._prepare is not None:
                    await unless_gone(worker, self._prepare(worker.handle))
            except WorkerLost:
                return  # dismissed, or stuck and replaced already
            except RayActorError as error:
                await self._lose_starting(worker, error)
                return
            except Exception as error:  # whatever it is, the pool's users must see it: this task has no caller
                await self._fail(error)
                return
            async with self._changed:
                if worker not in self._workers:
                    return
                worker.health.progressed()
                if generation == self._generation:
                    self._failed_starts = 0
                    worker.health.became_current(generation)
                    if worker.vacant_since is not None:
                        self._record_event("replaced", self.name, detail=worker.name, seconds=self._clock() - worker.vacant_since)
                        worker.vacant_since = None
                    self._changed.notify_all()
                    return

    async def _lose_starting(self, worker: PoolMember, error: RayActorError) -> None:
        """It died before it could serve: while it came up, or while it was made current. With its node, that says nothing of it."""
        self._failed_starts += not went_with_its_node(error)
        if self._failed_starts >= MAX_FAILED_STARTS:
            await self._fail(PoolError(f"{self._failed_starts} {self.name} workers in a row died while starting: {error}"))
        else:
            await self._lose(worker, _reason(error), f"it died while it started: {first_line(error)}")

    async def _give_up_starting(self, worker: PoolMember) -> None:
        """It found no room in time. The pool can do without it where enough others are up."""
        async with self._changed:
            others = sum(one.health.state is not WorkerState.STARTING and not one.health.is_leaving for one in self._workers)
            if others >= self.least:
                logger.warning("the cluster has no room for another %s worker; the pool stays at %d", self.name, others)
                self.size = others
                self._adjust()
                self._changed.notify_all()
                return
        await self._fail(PoolError(self._shortage()))

    async def _fail(self, failure: BaseException) -> None:
        async with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        await self._changed.wait_for(lambda: self._failure is not None or condition())
        if self._failure is not None:
            raise self._failure

    def _serving(self) -> list[PoolMember]:
        return [worker for worker in self._workers if worker.health.state in (WorkerState.IDLE, WorkerState.BUSY)]

    def _all_current(self) -> bool:
        up = [worker.health for worker in self._workers if worker.health.state is not WorkerState.STARTING and not worker.health.is_leaving]
        return all(health.generation == self._generation for health in up)

    def _shortage(self) -> str:
        return (
            f"waited {duration(self._timeout_s)} for {self.size} {self.name} worker(s); {resources_in_words()}. "
            f"Workers that have their share and still load need a higher cluster.start_timeout_s; for those that have none, "
            f"ask for less in pools.{self.name} or add nodes."
        )


def _reason(error: RayActorError) -> str:
    return "node" if went_with_its_node(error) else "died"
