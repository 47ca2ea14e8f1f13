from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.chaos import ChaosPlan, FaultKind, Killer, Strike
from actors.checkpoint import CheckpointStore
from actors.online import run
from caig_rl.config.schema import Config
from caig_rl.evaluation.run_folder import RunFolder
from tests.actors.fakes import BrightnessJudge, FakeSource
from tests.actors.test_checkpoint import MARKS, make_store

ALL = tuple(FaultKind)


def _strikes(seed: int, count: int = 400) -> list[Strike]:
    return list(islice(ChaosPlan(seed, 30.0, ALL).strikes(), count))


def test_the_seed_decides_what_breaks_and_when() -> None:
    assert _strikes(3) == _strikes(3) != _strikes(4)


def test_faults_come_as_often_as_asked_and_of_every_kind() -> None:
    strikes = _strikes(0)
    assert sum(strike.delay_s for strike in strikes) / len(strikes) == pytest.approx(30.0, rel=0.15)
    assert set(Counter(strike.kind for strike in strikes)) == set(ALL)


def _loop(store: CheckpointStore) -> Any:
    empty = SimpleNamespace(handles=list)
    return SimpleNamespace(store=store, teacher=SimpleNamespace(learner=empty), pipeline=SimpleNamespace(pools={"scorer": empty}))


def test_where_there_is_nobody_to_break_nothing_is_counted(tmp_path: Path) -> None:
    killer = Killer(ChaosPlan(0, 1.0, ALL), lambda text: None)
    loop = _loop(make_store(str(tmp_path), ()))
    assert [killer._strike(loop, Strike(0.0, kind, 0)) for kind in ALL] == [""] * len(ALL)


def test_a_torn_weight_file_is_passed_over_and_an_older_checkpoint_is_always_left(tmp_path: Path) -> None:
    store = make_store(str(tmp_path), (1, 2))
    killer = Killer(ChaosPlan(0, 1.0, ALL), lambda text: None)
    assert "of checkpoint 2 cut short" in killer._strike(_loop(store), Strike(0.0, FaultKind.TORN, 5))
    state = store.newest(MARKS, lambda text: None)
    assert state is not None and state.rounds_done == 1
    assert killer._strike(_loop(make_store(str(tmp_path / "one"), (1,))), Strike(0.0, FaultKind.TORN, 5)) == ""


@pytest.mark.slow
def test_a_run_under_fire_ends_with_every_admission_accounted_for(cluster: None, tiny_config: Config) -> None:
    """Real workers and a real learner; a worker told to hang is given up after some seconds."""
    config = tiny_config.model_copy(
        update={
            "run": tiny_config.run.model_copy(update={"name": "under-fire"}),
            "rollout": tiny_config.rollout.model_copy(update={"rounds": 6}),
            "recovery": tiny_config.recovery.model_copy(update={"stall_s": 20.0, "learner_restarts": 9}),
        }
    )
    killer = Killer(ChaosPlan(5, 8.0, ALL), lambda text: None)
    folder = RunFolder(config.run.root, "under-fire")
    summary = asyncio.run(run(config, FakeSource(9), FakeSource(5, "held"), BrightnessJudge(), folder, beside=killer.run))
    products = summary.products
    assert summary.status == "done" and products.in_flight == 0
    assert products.admitted == 36 == products.trained + products.tied + products.expired + sum(products.failed.values())
    trained = [folder.read_table(f"pairs/round-{number:05d}.parquet").num_rows for number in range(6)]
    assert sum(trained) == products.trained + products.expired
    assert summary.sync.verified <= summary.sync.count
    assert sum(killer.done.values()) >= 3, "the run was over before anything broke"
    assert summary.fleet is not None and sum(summary.fleet.replaced.values()) + summary.fleet.learner_restarts > 0
