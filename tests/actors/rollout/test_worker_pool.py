"""Pools over real Ray actors that die on demand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.cluster.stall_deadline import Patience
from actors.rollout.pool_member import WorkerLost
from actors.rollout.worker_pool import PoolError, WorkerPool
from tests.actors.fake_worker import FakeWorker


def _with_pool(
    folder: Path,
    body: Callable[[WorkerPool], Coroutine[Any, Any, None]],
    size: int = 1,
    versions: list[int] | None = None,
    **options: Any,
) -> WorkerPool:
    """Run `body` over a started pool; with `versions`, each worker is told the last of the list before it serves."""

    async def prepare(handle: Any) -> None:
        if versions:
            await handle.sync.remote(versions[-1])

    async def main() -> WorkerPool:
        remote = ray.remote(FakeWorker).options(num_cpus=0.1, max_restarts=0)
        pool = WorkerPool("fake", lambda: remote.remote(str(folder)), size, 60.0, prepare, **options)
        try:
            await pool.start()
            await body(pool)
        finally:
            await pool.close()
        return pool

    return asyncio.run(main())


def test_calls_are_spread_over_the_workers_and_each_is_answered(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        replies = await asyncio.gather(*(pool.call("double", value) for value in range(8)))
        assert [reply.meta[0] for reply in replies] == [2 * value for value in range(8)]
        assert {reply.worker for reply in replies} == {"fake-0", "fake-1"}

    _with_pool(tmp_path, body, size=2)


def test_a_dead_worker_is_replaced_and_its_call_reported_lost(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        (tmp_path / "die").touch()
        with pytest.raises(WorkerLost, match="fake-0 died during double"):
            await pool.call("double", 1)
        reply = await pool.call("double", 4)
        assert (reply.meta[0], reply.worker) == (8, "fake-1")

    told = list[tuple[str, ...]]()

    def record_event(*event: str, detail: str = "", seconds: float | None = None) -> None:
        told.append(event[:3])
        assert seconds is None or seconds > 0.0

    assert _with_pool(tmp_path, body, record_event=record_event).replaced == 1
    assert told == [("lost", "fake", "died"), ("replaced", "fake")]


def test_a_worker_that_holds_work_without_progress_is_replaced_and_its_call_reported_lost(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        (tmp_path / "hang").touch()
        with pytest.raises(WorkerLost, match="fake-0 made no progress for"):
            await pool.call("double", 1)
        assert (await pool.call("double", 4)).worker == "fake-1"

    # Whether two seconds are over is asked once a second; everything else this worker does takes milliseconds.
    pool = _with_pool(tmp_path, body, patience=Patience(2.0, 1.0))
    assert (pool.replaced, pool.stuck) == (1, 1)


def test_a_worker_frozen_in_its_call_is_replaced_too(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        pid = (await pool.call("pid")).meta
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(WorkerLost, match="fake-0"):
                await pool.call("double", 1)
            assert (await pool.call("double", 4)).worker == "fake-1"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    _with_pool(tmp_path, body, patience=Patience(2.0, 1.0))


def test_the_death_of_an_idle_worker_is_found_before_a_call_pays_for_it(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        os.kill((await pool.call("pid")).meta, signal.SIGKILL)
        while not pool.replaced:
            await asyncio.sleep(0.1)
        assert (await pool.call("double", 4)).worker == "fake-1"

    _with_pool(tmp_path, body)


def test_a_pool_that_grows_gives_work_to_the_newcomer_once_it_holds_the_current_version(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        await pool.resize(2)
        assert pool.load().size == 2
        await pool.refresh()  # does not wait for the newcomer
        while pool.load().starting:
            await asyncio.sleep(0.05)
        while pool.load().idle < 2:
            await asyncio.sleep(0.05)
        replies = await asyncio.gather(*(pool.call("double", value) for value in range(6)))
        assert {reply.worker for reply in replies} == {"fake-0", "fake-1"}
        assert {reply.meta[1] for reply in replies} == {7}

    _with_pool(tmp_path, body, versions=[7], most=3)


def test_a_pool_that_shrinks_lets_its_workers_finish_what_they_hold(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        await pool.resize(2)
        while pool.load().idle < 2:
            await asyncio.sleep(0.05)
        calls = [asyncio.create_task(pool.call("double", value)) for value in range(2)]
        await asyncio.sleep(0)
        await pool.resize(1)
        assert {reply.meta[0] for reply in await asyncio.gather(*calls)} == {0, 2}
        assert len({(await pool.call("double", value)).worker for value in range(4)}) == 1
        assert pool.replaced == 0

    _with_pool(tmp_path, body, most=2)


def test_workers_leave_a_node_that_is_being_drained_and_are_replaced_at_once(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        call = asyncio.create_task(pool.call("double", 1))
        await asyncio.sleep(0)
        await pool.leave_nodes({"another node"})
        assert pool.load().starting == 0
        await pool.leave_nodes({"this node"})
        assert pool.load().starting == 1
        assert (await call).meta[0] == 2
        assert (await pool.call("double", 4)).worker == "fake-1"

    _with_pool(tmp_path, body)


def test_a_pool_without_room_to_grow_stays_as_it_is(cluster: None, tmp_path: Path) -> None:
    async def main() -> None:
        remote = ray.remote(FakeWorker).options(num_cpus=1.5, max_restarts=0)
        pool = WorkerPool("fake", lambda: remote.remote(str(tmp_path)), 1, 15.0, most=2)
        try:
            await pool.start()
            pool._timeout_s = 1.0
            await pool.resize(2)
            while pool.size == 2:
                await asyncio.sleep(0.1)
            assert (await pool.call("double", 4)).meta[0] == 8
        finally:
            await pool.close()

    asyncio.run(main())


def test_a_payload_survives_the_worker_that_made_it(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        reply = await pool.call("double", 1)
        (tmp_path / "die").touch()
        with pytest.raises(WorkerLost):
            await pool.call("double", 1)
        assert await reply.payload > 0

    _with_pool(tmp_path, body)


def test_a_method_that_raises_leaves_its_worker_alive(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        (tmp_path / "raise").touch()
        with pytest.raises(RayTaskError, match="a broken sum"):
            await pool.call("double", 1)
        assert (await pool.call("double", 4)).worker == "fake-0"

    assert _with_pool(tmp_path, body).replaced == 0


def test_a_replacement_takes_no_work_before_it_holds_the_current_version(cluster: None, tmp_path: Path) -> None:
    versions = [1]

    async def body(pool: WorkerPool) -> None:
        assert (await pool.call("double", 1)).meta[1] == 1
        versions.append(2)
        await pool.refresh()
        assert (await pool.call("double", 1)).meta[1] == 2
        (tmp_path / "die").touch()
        with pytest.raises(WorkerLost):
            await pool.call("double", 1)
        assert (await pool.call("double", 1)).meta[1] == 2

    _with_pool(tmp_path, body, versions=versions)


def test_a_refresh_reaches_every_worker_also_while_they_are_called(cluster: None, tmp_path: Path) -> None:
    versions = [1]

    async def body(pool: WorkerPool) -> None:
        calls = [asyncio.create_task(pool.call("double", value)) for value in range(12)]
        versions.append(2)
        await pool.refresh()
        late = await asyncio.gather(*(pool.call("double", value) for value in range(4)))
        assert {reply.meta[1] for reply in late} == {2}
        assert len(await asyncio.gather(*calls)) == 12

    _with_pool(tmp_path, body, size=2, versions=versions)


def test_workers_that_never_start_fail_the_pool_with_their_reason(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        raise AssertionError("the pool must not have started")

    (tmp_path / "never_starts").touch()
    with pytest.raises(PoolError, match=r"3 fake workers in a row died while starting[\s\S]*this worker never starts"):
        _with_pool(tmp_path, body)


def test_workers_that_die_while_they_load_weights_fail_the_pool_instead_of_being_replaced_for_ever(cluster: None, tmp_path: Path) -> None:
    async def body(pool: WorkerPool) -> None:
        raise AssertionError("the pool must not have started")

    (tmp_path / "dies_in_sync").touch()
    with pytest.raises(PoolError, match="3 fake workers in a row died while starting"):
        _with_pool(tmp_path, body, versions=[1])


def test_an_exception_in_prepare_reaches_the_caller(cluster: None, tmp_path: Path) -> None:
    async def refuse(handle: Any) -> None:
        raise ValueError("not the weights that were published")

    async def main() -> None:
        remote = ray.remote(FakeWorker).options(num_cpus=0.1, max_restarts=0)
        pool = WorkerPool("fake", lambda: remote.remote(str(tmp_path)), 1, 60.0, refuse)
        try:
            with pytest.raises(ValueError, match="not the weights"):
                await pool.start()
        finally:
            await pool.close()

    asyncio.run(main())


def test_a_cluster_without_room_says_what_is_waited_for(cluster: None, tmp_path: Path) -> None:
    async def main() -> None:
        remote = ray.remote(FakeWorker).options(num_cpus=50, max_restarts=0)
        pool = WorkerPool("renderer", lambda: remote.remote(str(tmp_path)), 1, 1.0)
        try:
            with pytest.raises(PoolError, match=r"waited 1 s for 1 renderer worker\(s\); the cluster has 2 CPUs"):
                await pool.start()
        finally:
            await pool.close()

    asyncio.run(main())


def test_workers_that_die_with_their_node_while_they_start_are_not_held_against_the_pool() -> None:
    """Ray's own words for it; a spot node may take half a pool with it."""
    gone = RayActorError(error_msg="The actor died because its node has died. Node Id: 0123 the actor's node was preempted: ")
    broken = RayActorError(error_msg="The actor died because of an error raised in its creation task")
    pool = WorkerPool("fake", lambda: None, 1, 1.0)

    async def main() -> None:
        for _ in range(5):
            await pool._lose_starting(SimpleNamespace(name="fake-0"), gone)  # type: ignore[arg-type]
        assert pool._failure is None
        for _ in range(3):
            await pool._lose_starting(SimpleNamespace(name="fake-0"), broken)  # type: ignore[arg-type]

    asyncio.run(main())
    assert isinstance(pool._failure, PoolError) and "3 fake workers in a row died while starting" in str(pool._failure)
