"""Pools over real Ray actors that die on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError

from actors.pool import PoolError, WorkerLost, WorkerPool
from tests.actors.fake_worker import FakeWorker


def _with_pool(
    folder: Path, body: Callable[[WorkerPool], Coroutine[Any, Any, None]], size: int = 1, versions: list[int] | None = None
) -> WorkerPool:
    """Run `body` over a started pool; with `versions`, each worker is told the last of the list before it serves."""

    async def prepare(handle: Any) -> None:
        if versions:
            await handle.sync.remote(versions[-1])

    async def main() -> WorkerPool:
        remote = ray.remote(FakeWorker).options(num_cpus=0.1, max_restarts=0)
        pool = WorkerPool("fake", lambda: remote.remote(str(folder)), size, 60.0, prepare)
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

    assert _with_pool(tmp_path, body).replaced == 1


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
