from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ObjectLostError, RayTaskError

from actors.chaos.fault import NoTarget
from actors.chaos.fault_injector import FaultInjector
from actors.chaos.fault_plan import FaultKind, FaultPlan, PlannedFault
from actors.chaos.worker_orders import give_no_number, kill_node, lose_an_object, never_finish
from actors.checkpoints.store import CheckpointStore
from actors.loop.checkpoint_writer import CheckpointWriter
from actors.loop.run import run
from actors.rollout.pipeline import is_the_machines
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from tests.actors.checkpoints.test_store import MARKS, _save_learner, _state, make_store
from tests.actors.fakes import BrightnessJudge, FakeSource

ALL = tuple(FaultKind)


class FakeActor:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told, self.__ray_call__ = list[Callable[[Any], None]](), SimpleNamespace(remote=lambda order: self.told.append(order))


class FakePool:
    """Actors by node, each the worker of its node's name."""

    size = 1

    def __init__(self, **actors: FakeActor) -> None:
        self.actors = actors

    def ready(self) -> dict[str, FakeActor]:
        return dict(self.actors)

    def nodes(self) -> dict[str, FakeActor]:
        return dict(self.actors)

    def workers(self) -> list[tuple[str, str, int]]:
        return [(name, "idle", 0) for name in self.actors]


def _loop(store: CheckpointStore, pool: FakePool | None = None, ranks: tuple[Any, ...] = (), rounds: int = 9) -> Any:
    """Three pools of the same workers."""
    learner = SimpleNamespace(handles=lambda: list(ranks), ready_ranks=len(ranks))
    pools = dict.fromkeys(("policy", "renderer", "scorer"), pool or FakePool())
    ledger = SimpleNamespace(counts=lambda: {"failed": {}})
    notes = list[str]()
    return SimpleNamespace(
        store=store,
        learner_control=SimpleNamespace(group=learner, recoveries=SimpleNamespace(count=0)),
        pipeline=SimpleNamespace(pools=pools, issued_again=0),
        run_state=SimpleNamespace(rounds_planned=rounds, rounds_done=0, ledger=ledger),
        rounds_begun=asyncio.Event(),
        notes=notes,
        note=notes.append,
    )


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Actors that Ray was told to kill; the driver and Ray's head are on one node."""
    victims = list[Any]()
    monkeypatch.setattr("ray.kill", victims.append)
    monkeypatch.setattr("actors.chaos.node_faults.nodes_to_spare", lambda: {"head"})
    return victims


def _injector(kinds: tuple[FaultKind, ...] = ALL, end: Callable[[], None] | None = None) -> FaultInjector:
    return FaultInjector(FaultPlan(0, 1.0, kinds), end=end)


@pytest.mark.parametrize("kind", sorted(set(ALL) - {FaultKind.DISK}))
def test_where_there_is_nobody_to_break_nothing_is_counted_and_the_reason_is_kept(
    kind: FaultKind, tmp_path: Path, killed: list[Any]
) -> None:
    injector, loop = FaultInjector(FaultPlan(0, 0.1, ALL)), _loop(make_store(str(tmp_path), ()))
    with pytest.raises(NoTarget):
        injector.inject(loop, PlannedFault(0.0, kind, 0))
    asyncio.run(injector._inject_when_possible(loop, PlannedFault(0.0, kind, 0)))
    assert (sum(injector.done.values()), loop.notes, list(injector.records.misses)) == (0, [], [kind])


def test_nothing_is_broken_before_the_first_round_nor_before_a_victim_is_up(tmp_path: Path, killed: list[Any]) -> None:
    pool, actor = FakePool(), FakeActor()
    loop, injector = _loop(make_store(str(tmp_path), ()), pool), FaultInjector(FaultPlan(0, 0.01, (FaultKind.WORKER,)))

    async def main() -> None:
        pool.actors = {"spot": actor}
        running = asyncio.create_task(injector.run(loop))
        await asyncio.sleep(0.3)
        assert killed == []
        pool.actors = {}
        loop.rounds_begun.set()
        await asyncio.sleep(0.5)
        assert killed == [] and "pool has no worker that is up" in injector.records.misses[FaultKind.WORKER]
        pool.actors = {"spot": actor}
        await asyncio.sleep(0.5)
        running.cancel()

    asyncio.run(main())
    assert killed and set(killed) == {actor}


def test_a_killed_worker_counts_as_replaced_once_it_is_gone_and_its_pool_is_whole(tmp_path: Path, killed: list[Any]) -> None:
    pool, injector = FakePool(spot=FakeActor()), _injector()
    loop = _loop(make_store(str(tmp_path), ()), pool)
    injector.inject(loop, PlannedFault(0.0, FaultKind.WORKER, 0))
    for actors, outcome in (({"spot": FakeActor()}, ""), ({}, ""), ({"spot-2": FakeActor()}, "replaced")):
        pool.actors = actors
        injector.look(loop)
        assert injector.records.faults[0].outcome == outcome
    assert len(loop.notes) == 2 and "replaced after" in loop.notes[1]


def test_a_killed_rank_counts_as_re_formed_once_the_learner_is(tmp_path: Path, killed: list[Any]) -> None:
    injector, loop = _injector(), _loop(make_store(str(tmp_path), ()), ranks=(FakeActor(),))
    injector.inject(loop, PlannedFault(0.0, FaultKind.RANK, 0))
    injector.look(loop)
    assert injector.records.faults[0].outcome == ""
    loop.learner_control.recoveries.count = 1
    injector.look(loop)
    assert injector.records.faults[0].outcome == "learner re-formed with 1 rank(s)"


@pytest.mark.parametrize(
    ("kind", "order"),
    [(FaultKind.SLOW, never_finish), (FaultKind.NAN, give_no_number), (FaultKind.OBJECT, lose_an_object)],
)
def test_a_worker_is_told_what_to_do_wrong(kind: FaultKind, order: Any, tmp_path: Path, killed: list[Any]) -> None:
    actor, injector = FakeActor(), _injector()
    loop = _loop(make_store(str(tmp_path), ()), FakePool(spot=actor))
    injector.inject(loop, PlannedFault(0.0, kind, 3))
    assert actor.told == [order] and killed == []
    assert injector.done == {kind: 1} and len(loop.notes) == 1


def test_workers_and_ranks_are_killed(tmp_path: Path, killed: list[Any]) -> None:
    actor, rank, injector = FakeActor(), FakeActor(), _injector()
    loop = _loop(make_store(str(tmp_path), ()), FakePool(spot=actor), (rank,))
    for kind in (FaultKind.WORKER, FaultKind.RANK):
        injector.inject(loop, PlannedFault(0.0, kind, 3))
    assert killed == [actor, rank]


def test_a_rollout_node_is_killed_and_never_the_drivers_or_the_heads(tmp_path: Path, killed: list[Any]) -> None:
    head, spot, injector = FakeActor(), FakeActor(), _injector()
    store = make_store(str(tmp_path), ())
    for draw in range(4):
        injector.inject(_loop(store, FakePool(head=head, spot=spot)), PlannedFault(0.0, FaultKind.NODE, draw))
    assert (head.told, spot.told) == ([], [kill_node] * 4)
    with pytest.raises(NoTarget, match="no node but the driver's and the head's"):
        injector.inject(_loop(store, FakePool(head=head)), PlannedFault(0.0, FaultKind.NODE, 0))
    assert head.told == []


def test_a_node_is_killed_through_the_raylet_that_started_the_worker_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    signals = list[int]()
    parent = SimpleNamespace(name=lambda: "raylet", send_signal=signals.append)
    monkeypatch.setattr("actors.chaos.worker_orders.psutil.Process", lambda pid: parent)
    kill_node(None)
    assert signals == [signal.SIGKILL]
    parent.name = lambda: "bash"
    with pytest.raises(RuntimeError, match="started by 'bash'"):
        kill_node(None)
    assert len(signals) == 1


def test_a_lost_object_is_lost_once_and_looks_like_one_that_went_with_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = SimpleNamespace(hex=lambda: "ab" * 28)
    monkeypatch.setattr(ray, "get", lambda refs, **options: "there")
    lose_an_object(None)
    with pytest.raises(ObjectLostError) as lost:
        ray.get(ref)
    assert is_the_machines(RayTaskError("render", "traceback", lost.value)), "the shard would be blamed for it"
    assert ray.get([ref]) == "there"


def test_the_driver_is_killed_only_once_it_has_written_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    ends = list[str]()
    injector = _injector((FaultKind.DRIVER,), lambda: ends.append("killed"))
    store = make_store(str(tmp_path), (1,))
    fault = PlannedFault(0.0, FaultKind.DRIVER, 0)

    async def main() -> None:
        running = asyncio.create_task(FaultInjector.run(injector, _loop(store)))
        await asyncio.sleep(0)
        running.cancel()

    asyncio.run(main())
    with pytest.raises(NoTarget, match="no checkpoint was written"):
        injector.inject(_loop(store), fault)
    assert ends == []
    injector.inject(_loop(make_store(str(tmp_path), (2,))), fault)
    assert ends == ["killed"]


def test_a_disk_is_full_once_and_never_for_the_runs_result(tmp_path: Path) -> None:
    injector, store = _injector(), make_store(str(tmp_path), (1,))
    injector.inject(_loop(store, rounds=2), PlannedFault(0.0, FaultKind.DISK, 0))
    with pytest.raises(OSError, match="No space left"):
        store.update(_state(1), MARKS)
    store.update(_state(1), MARKS)
    injector.inject(_loop(store, rounds=1), PlannedFault(0.0, FaultKind.DISK, 0))
    store.update(_state(1), MARKS)


def test_a_checkpoint_that_cannot_be_written_costs_a_note_and_the_last_one_the_run(tmp_path: Path) -> None:
    notes = list[str]()
    store = make_store(str(tmp_path), (1,))

    def writer_after(rounds: int) -> CheckpointWriter:
        _injector().inject(_loop(store, rounds=9), PlannedFault(0.0, FaultKind.DISK, 0))
        run_state: Any = SimpleNamespace(rounds_done=rounds, rounds_planned=3, state=lambda extra: _state(rounds))
        learner_control: Any = SimpleNamespace(save=_save_learner)
        return CheckpointWriter(store, run_state, learner_control, MARKS, dict, notes.append)

    asyncio.run(writer_after(2).checkpoint())
    assert "no checkpoint after round 2: OSError: [Errno 28] No space left" in notes[0]
    state = store.newest(MARKS, notes.append)
    assert state is not None and state.rounds_done == 1
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(writer_after(3).checkpoint())


def test_a_torn_weight_file_is_passed_over_and_an_older_checkpoint_is_always_left(tmp_path: Path, killed: list[Any]) -> None:
    store, injector, ranks = make_store(str(tmp_path), (1, 2)), _injector(), (FakeActor(),)
    injector.inject(_loop(store, ranks=ranks), PlannedFault(0.0, FaultKind.TORN, 5))
    assert "of checkpoint 2 cut short" in injector.records.faults[0].victim and killed == list(ranks)
    state = store.newest(MARKS, lambda text: None)
    assert state is not None and state.rounds_done == 1
    with pytest.raises(NoTarget, match="1 complete checkpoints"):
        injector.inject(_loop(make_store(str(tmp_path / "one"), (1,)), ranks=ranks), PlannedFault(0.0, FaultKind.TORN, 5))


@pytest.mark.slow
def test_a_run_under_fire_ends_with_every_admission_accounted_for(cluster: None, tiny_config: Config) -> None:
    """Real workers and a real learner; a worker told to hang is given up after some seconds."""
    rounds = 24
    config = tiny_config.model_copy(
        update={
            "run": tiny_config.run.model_copy(update={"name": "under-fire"}),
            "rollout": tiny_config.rollout.model_copy(update={"rounds": rounds}),
            "recovery": tiny_config.recovery.model_copy(update={"stall_s": 20.0, "learner_restarts": 9}),
        }
    )
    injector = FaultInjector(FaultPlan(5, 5.0, tuple(kind for kind in ALL if kind not in (FaultKind.NODE, FaultKind.DRIVER))))
    folder = RunFolder(config.run.root, "under-fire")
    summary = asyncio.run(run(config, FakeSource(9), FakeSource(5, "held"), BrightnessJudge(), folder, beside=injector.run))
    products = summary.products
    assert summary.status == "done" and products.in_flight == 0
    assert products.admitted == 6 * rounds == products.trained + products.tied + products.expired + sum(products.failed.values())
    trained = [folder.read_table(f"pairs/round-{number:05d}.parquet").num_rows for number in range(rounds)]
    assert sum(trained) == products.trained + products.expired
    assert summary.sync.verified <= summary.sync.count
    assert sum(injector.done.values()) >= 3, "the run was over before anything broke"
    assert summary.fleet is not None and sum(summary.fleet.replaced.values()) + summary.fleet.learner_restarts > 0
