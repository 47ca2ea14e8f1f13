"""A checkpoint that `make demo` wrote at d435bbc, before the code was laid out in rooms, is still taken up. Its weights are left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from actors.checkpoints.compatibility import run_fingerprint
from actors.checkpoints.store import CheckpointStore, SavedState
from actors.evaluation.baseline import Baseline
from actors.loop.learning.learner_recovery import Recoveries
from actors.loop.round_history import RoundHistory
from actors.loop.run_totals import RunTotals
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.run_state import RunState
from actors.rollout.fleet import Fleet
from actors.telemetry.meters import RunMeters
from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.runs.events import EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.types import PolicyVersion
from caig_rl.world.products import WorldProducts

OLD = Path(__file__).parent / "demo_of_d435bbc"
DEMO = OLD / "demo.yaml"


def _state(tmp_path: Path) -> tuple[Config, RunFolder, SavedState]:
    config = load_config(DEMO, [f"run.root={tmp_path}"])
    folder = RunFolder(str(tmp_path), "demo")
    shutil.copytree(OLD, folder.path("."), dirs_exist_ok=True)
    evaluated = WorldProducts(config.world.seed, config.evaluation.products, "eval").products
    trained = WorldProducts(config.world.seed, config.world.num_products, "train").products
    said = list[str]()
    state = CheckpointStore(folder, 2).newest(run_fingerprint(config, trained, evaluated), said.append)
    assert state is not None and said == []
    return config, folder, state


def test_the_state_that_the_old_code_wrote_is_taken_up(tmp_path: Path) -> None:
    config, folder, state = _state(tmp_path)
    products = WorldProducts(config.world.seed, config.world.num_products, "train").products
    run_state = RunState(config, products, Ledger(), GroupJournal(folder))
    run_state.restore(state)
    assert (run_state.rounds_done, run_state.rounds_admitted, run_state.version) == (7, 8, PolicyVersion(1, 7))
    assert sum(len(shard.admissions) for shard in run_state.shards_in_flight(7)) == 80


def test_everything_that_the_old_run_counted_goes_on(tmp_path: Path) -> None:
    config, folder, state = _state(tmp_path)
    pipeline: Any = SimpleNamespace(syncs=0, verified=0)
    fleet = Fleet({}, config.pools, lambda text: None)
    parts = (EventLog(folder), RunMeters(), RoundHistory(folder), Baseline(), pipeline, fleet, Recoveries())
    totals = RunTotals(config, RunFacts(), *parts)
    totals.restore(state.extra)
    assert (pipeline.syncs, pipeline.verified) == (8, 8)
    assert [detail.round for detail in totals.history.details] == list(range(7))
    assert totals.meters.throughput.counts["pairs"] == 560 and totals.meters.memory.peak_gib > 7.0
    assert totals.baseline.is_measured and len(totals.baseline.ctr_ceilings) == 48
    assert set(totals.to_json()) | {"notes", "falls"} == set(state.extra)
    assert set(totals.to_json()["fleet"]) == set(state.extra["fleet"])
