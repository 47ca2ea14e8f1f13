"""A checkpoint that `make demo` wrote at d435bbc, before the code was laid out in rooms, is still taken up. Its weights are left out."""

from __future__ import annotations

import math
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
from actors.telemetry.round_totals import RoundTotals
from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.runs.events import EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import Replay
from caig_rl.types import Judgement, PolicyVersion
from caig_rl.world.products import WorldProducts

OLD = Path(__file__).parent / "demo_of_d435bbc"
DEMO = OLD / "demo.yaml"
DEFAULTS_OF_THEN = ("renderer.steps=6", "renderer.guidance_scale=3.0")
"""What such a run is gone on with: the renderer that painted its creatives needed these."""


def _state(tmp_path: Path) -> tuple[Config, RunFolder, SavedState]:
    config = load_config(DEMO, [f"run.root={tmp_path}", *DEFAULTS_OF_THEN])
    folder = RunFolder(str(tmp_path), "demo")
    shutil.copytree(OLD, folder.path("."), dirs_exist_ok=True)
    evaluated = WorldProducts(config.world.seed, config.evaluation.products, "eval").products
    trained = WorldProducts(config.world.seed, config.world.num_products, "train").products
    said = list[str]()
    state = CheckpointStore(folder, 2).newest(run_fingerprint(config, trained, evaluated), said.append)
    assert state is not None and said == []
    return config, folder, state


def _run_state(config: Config, folder: RunFolder) -> RunState:
    return RunState(config, WorldProducts(config.world.seed, config.world.num_products, "train").products, Ledger(), GroupJournal(folder))


def _totals(config: Config, folder: RunFolder) -> RunTotals:
    pipeline: Any = SimpleNamespace(syncs=0, verified=0)
    fleet = Fleet({}, config.pools, lambda text: None)
    parts = (EventLog(folder), RunMeters(), RoundHistory(folder), Baseline(), pipeline, fleet, Recoveries())
    return RunTotals(config, RunFacts(), *parts)


def test_the_state_that_the_old_code_wrote_is_taken_up(tmp_path: Path) -> None:
    config, folder, state = _state(tmp_path)
    run_state = _run_state(config, folder)
    run_state.restore(state)
    assert (run_state.rounds_done, run_state.rounds_admitted, run_state.version) == (7, 8, PolicyVersion(1, 7))
    assert sum(len(shard.admissions) for shard in run_state.shards_in_flight(7)) == 80
    assert run_state.intake.totals == {7: RoundTotals([], [], [])}


def test_everything_that_the_old_run_counted_goes_on(tmp_path: Path) -> None:
    config, folder, state = _state(tmp_path)
    totals = _totals(config, folder)
    totals.restore(state.extra)
    assert (totals.pipeline.syncs, totals.pipeline.verified) == (8, 8)
    assert [detail.round for detail in totals.history.details] == list(range(7))
    assert totals.meters.throughput.counts["pairs"] == 560 and totals.meters.memory.peak_gib > 7.0
    assert totals.baseline.is_measured and len(totals.baseline.ctr_ceilings) == 48
    assert totals.recoveries == Recoveries(0, [])
    assert set(totals.to_json()) | {"notes", "falls"} == set(state.extra)
    assert set(totals.to_json()["fleet"]) == set(state.extra["fleet"])


def test_what_such_a_run_would_have_counted_of_a_lost_learner_and_a_half_done_round_goes_on(tmp_path: Path) -> None:
    config, folder, state = _state(tmp_path)
    state.extra["fleet"] |= {"learner_restarts": 2, "replayed": [{"incarnation": 1, "round": 3, "pairs": 80}]}
    state.extra["notes"]["7"] |= {"scores": [0.5, None], "prompts": ["wood"], "judgements": [[0.02, 0.7]], "counts": [1, 2, 3, 4]}
    totals, run_state = _totals(config, folder), _run_state(config, folder)
    totals.restore(state.extra)
    run_state.restore(state)
    assert totals.recoveries == Recoveries(2, [Replay(incarnation=1, round=3, pairs=80)])
    assert totals.fleet_summary().learner_restarts == 2
    assert {**totals.to_json()["fleet"], "seconds": 0} == {**state.extra["fleet"], "seconds": 0, "replaced": {}, "stuck": {}}
    of_round = run_state.intake.totals[7]
    assert (of_round.pairs, of_round.tied, of_round.failed, of_round.truncated) == (1, 2, 3, 4)
    assert of_round.prompts == ["wood"] and of_round.judgements == [Judgement(0.02, 0.7)] and math.isnan(of_round.scores[1])
