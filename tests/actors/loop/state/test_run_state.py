from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from actors.checkpoints.store import _state_json
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.group_selection import NoGroup
from actors.loop.state.run_state import RunState
from actors.rollout.shard import Shard
from caig_rl.config.load import load_config
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import Admission, Judgement, Outcome, PolicyVersion, Product
from tests.actors.loop.state.test_preference_buffer import V0, make_pair_of

PRODUCTS = [Product(f"p{i}", f"title {i}", "mugs") for i in range(10)]
TIE = NoGroup(Outcome.TIED)


def _run_state(folder: Path, staleness: int = 0, segments: Shares = EVERYBODY) -> RunState:
    sizes = ["rollout.rounds=3", "rollout.products_per_round=4", "rollout.shard_size=2", f"rollout.max_staleness={staleness}"]
    return RunState(load_config(None, sizes), PRODUCTS, Ledger(), GroupJournal(RunFolder(str(folder), "run")), segments)


def _open_next(run_state: RunState) -> list[Shard]:
    number, shards = run_state.rounds_admitted, run_state.admit_next()
    run_state.open_round(number, shards)
    return shards


def _arrive(run_state: RunState, shard: Shard, version: PolicyVersion = V0) -> None:
    run_state.buffer.add_pairs([make_pair_of(admission, version) for admission in shard.admissions])
    run_state.written(shard.admissions[0].round, shard)


def _learn(run_state: RunState, number: int) -> None:
    run_state.take_pairs(number)
    run_state.version = PolicyVersion(run_state.version.incarnation, number + 1)
    run_state.weights_live(number)


def test_on_policy_a_round_waits_for_the_one_before_to_be_live(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path)
    assert run_state.may_admit(0)
    for shard in _open_next(run_state):
        assert not run_state.can_learn(0) and not run_state.may_admit(1)
        _arrive(run_state, shard)
    assert run_state.can_learn(0) and not run_state.may_admit(1)
    _learn(run_state, 0)
    assert run_state.may_admit(1)


def test_at_a_staleness_of_one_a_second_round_may_start_and_a_third_not(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path, staleness=1)
    _open_next(run_state)
    assert run_state.may_admit(1)
    _open_next(run_state)
    assert not run_state.may_admit(2)


def test_new_weights_wait_for_the_prompts_that_the_old_ones_are_to_write(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path, staleness=1)
    for shard in _open_next(run_state):
        run_state.written(0, shard)
    assert run_state.prompts_written(0) and not run_state.prompts_written(1), "round 1 is not even admitted"
    first, second = _open_next(run_state)
    run_state.written(1, first)
    assert not run_state.prompts_written(1)
    run_state.written(1, second)
    assert run_state.prompts_written(1)


def test_a_run_state_restored_in_mid_round_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path)
    for shard in _open_next(run_state):
        _arrive(run_state, shard)
    _learn(run_state, 0)
    run_state.close_round(0)
    arrived, tied = _open_next(run_state)
    _arrive(run_state, arrived, PolicyVersion(0, 1))
    run_state.buffer.drop(tied.admissions[0], TIE)
    totals = run_state.intake.totals[1]
    totals.tied, totals.scores, totals.judgements = 1, [0.5, math.nan], [Judgement(0.02, 0.7)]
    state = run_state.state({"own": 1})

    again = _run_state(tmp_path / "elsewhere")
    again.restore(state)
    assert (again.rounds_done, again.rounds_admitted, again.version) == (1, 2, PolicyVersion(1, 1))
    (left,) = again.shards_in_flight(1)
    assert left.admissions == tied.admissions[1:]
    assert again.buffer.ready() == run_state.buffer.ready()
    assert again.intake.totals[1].tied == 1 and math.isnan(again.intake.totals[1].scores[1])
    assert again.intake.totals[1].judgements == totals.judgements
    again.open_round(1, [left])
    _arrive(again, left, PolicyVersion(1, 1))
    assert [pair.admission.admission_id for pair in again.take_pairs(1)] == [4, 5, 7]
    _learn(again, 1)
    assert [one.admissions for one in again.admit_next()] == [one.admissions for one in _after(run_state, tied)]


def _after(run_state: RunState, tied: Shard) -> list[Shard]:
    run_state.buffer.add_pairs([make_pair_of(tied.admissions[1], PolicyVersion(0, 1))])
    _learn(run_state, 1)
    return run_state.admit_next()


def test_a_state_fits_into_json(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path)
    _open_next(run_state)
    run_state.intake.totals[0].scores = [math.nan]
    assert json.loads(json.dumps(run_state.state({}).extra, allow_nan=False))["notes"]["0"]["scores"] == [None]


def test_after_a_rollback_pairs_of_the_discarded_weights_expire_and_the_others_are_taken_again(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path, staleness=1)
    first = _open_next(run_state)
    second = _open_next(run_state)
    for shard in first:
        _arrive(run_state, shard)
    _learn(run_state, 0)
    _arrive(run_state, second[0], PolicyVersion(0, 0))
    _arrive(run_state, second[1], PolicyVersion(0, 1))
    assert len(run_state.take_pairs(1)) == 4
    run_state.roll_back(run_state.next_incarnation(), 0)
    assert run_state.version == PolicyVersion(1, 1)
    assert [pair.version for pair in run_state.take_pairs(1)] == [PolicyVersion(0, 0)] * 2
    assert run_state.ledger.counts()["expired"] == 2


def test_an_incarnation_that_came_to_nothing_is_not_named_again(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path)
    assert [run_state.next_incarnation(), run_state.next_incarnation()] == [1, 2]
    run_state.roll_back(2, 0)
    assert run_state.next_incarnation() == 3


def test_a_rollback_is_remembered_across_a_resume_so_that_pairs_of_discarded_weights_still_expire(tmp_path: Path) -> None:
    """They waited in the checkpoint: the round that takes them had not come yet when it was written."""
    run_state = _run_state(tmp_path, staleness=1)
    for shard in _open_next(run_state):
        _arrive(run_state, shard)
    _learn(run_state, 0)
    discarded, kept = _open_next(run_state)
    _arrive(run_state, discarded, PolicyVersion(0, 1))
    run_state.roll_back(run_state.next_incarnation(), 0)
    _arrive(run_state, kept, PolicyVersion(1, 1))
    state = run_state.state({})

    again = _run_state(tmp_path / "elsewhere", staleness=1)
    again.restore(replace(state, extra=json.loads(json.dumps(state.extra))))
    assert [pair.version for pair in again.take_pairs(1)] == [PolicyVersion(1, 1)] * 2
    assert again.ledger.counts()["expired"] == 2


def test_the_plain_state_loads_no_ray() -> None:
    lines = "import sys, actors.loop.state.run_state; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", lines], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_run_that_ends_early_admits_no_later_round_and_waits_for_none(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path, staleness=1)
    for shard in _open_next(run_state):
        _arrive(run_state, shard)
    assert not run_state.prompts_written(1), "round 1 is not even admitted"
    run_state.end_after(1)
    run_state.end_after(2)
    assert run_state.prompts_written(1) and not run_state.is_beyond_the_end(0) and run_state.is_beyond_the_end(1)


def test_admissions_of_rounds_that_the_run_does_not_come_to_expire_with_the_reason(tmp_path: Path) -> None:
    run_state = _run_state(tmp_path, staleness=1)
    for shard in _open_next(run_state):
        _arrive(run_state, shard)
    _learn(run_state, 0)
    arrived, _ = _open_next(run_state)
    _arrive(run_state, arrived, PolicyVersion(0, 1))
    run_state.expire_rest("the guard ended the run")
    counts = run_state.ledger.counts()
    assert (counts["trained"], counts["expired"], counts["in_flight"]) == (4, 4, 0)
    rows = run_state.ledger.to_table().to_pylist()[4:]
    assert {row["message"] for row in rows} == {"the guard ended the run"} and [row["version"] for row in rows] == ["0.1"] * 2 + [""] * 2
    assert run_state.buffer.free_slots == 8 and run_state.take_pairs(1) == []


def test_drawn_segments_survive_a_resume(tmp_path: Path) -> None:
    """Those in flight come from the checkpoint, as JSON; those of later rounds are drawn as the undisturbed run draws them."""
    shares = {"teens": 0.6, "adults": 0.4}
    run_state = _run_state(tmp_path, staleness=1, segments=shares)
    flying = _open_next(run_state)
    written = json.loads(json.dumps(_state_json(run_state.state({}), {})))
    state = replace(run_state.state({}), in_flight=tuple(Admission(*row) for row in written["in_flight"]))
    expected = [run_state.admit_next(), flying]

    again = _run_state(tmp_path / "elsewhere", staleness=1, segments=shares)
    again.restore(state)
    assert [again.admit_next(), again.shards_in_flight(0)] == expected
    assert {product.segment for shards in expected for shard in shards for product in shard.products} == set(shares)
    assert [row["segment"] for row in again.ledger.to_table().to_pylist()[:4]] == [one.segment for s in flying for one in s.admissions]
