"""What a guard does to a run: from the scores in the ledger to the run's end, the checkpoints that stay and the result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from actors.checkpoints.store import CheckpointStore
from actors.loop.guard_watch import GuardWatch
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.run_state import RunState
from caig_rl.config.load import load_config
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.types import PolicyVersion
from tests.actors.checkpoints.test_store import make_store
from tests.actors.loop.state.test_preference_buffer import make_pair_of
from tests.actors.loop.state.test_run_state import PRODUCTS

RISES_THEN_FALLS = (0.0, 0.5, 0.9, 0.2)
"""The guard's mean of each round; the reward rises all the time."""


class GuardedRun:
    """A run's plain parts, whose rounds are scored as told."""

    def __init__(self, root: Path, *settings: str) -> None:
        sizes = ["rollout.rounds=6", "rollout.products_per_round=4", "rollout.shard_size=2", "guard.reward=runs/guard"]
        self.config, self.notes = load_config(None, [*sizes, *settings]), list[str]()
        self.run_state = RunState(self.config, PRODUCTS, Ledger(), GroupJournal(RunFolder(str(root), "run")))
        self.store = CheckpointStore(RunFolder(str(root), "run"), 1)
        self.watch = GuardWatch(self.config, self.run_state, self.store, self.notes.append)

    def round(self, guard: float | None) -> None:
        """One round, on policy: admitted, scored, looked at, learned."""
        run_state, number = self.run_state, self.run_state.rounds_admitted
        for shard in run_state.admit_next():
            for place, admission in enumerate(shard.admissions):
                noise = 0.05 * ((admission.admission_id + place) % 3)
                run_state.buffer.scored(admission, number + noise, None if guard is None else guard + noise)
            run_state.buffer.add_pairs([make_pair_of(one, run_state.version) for one in shard.admissions])
        self.watch.look(number + 1)
        run_state.take_pairs(number)
        run_state.version = replace(run_state.version, number=number + 1)
        run_state.weights_live(number)

    def rounds(self, guard: Sequence[float | None]) -> GuardedRun:
        for one in guard:
            self.round(one)
        return self


def test_while_the_guard_rises_the_run_goes_on_and_its_last_version_is_the_result(tmp_path: Path) -> None:
    run = GuardedRun(tmp_path).rounds(RISES_THEN_FALLS[:3])
    assert run.notes == [] and not run.watch.ended_the_run and not run.run_state.is_beyond_the_end(5)
    result = asyncio.run(run.watch.result())
    assert (result.version, result.rounds, result.policy, result.by) == ("0.3", 3, "checkpoints/3/policy", "last")
    assert run.watch.score_of(2) == pytest.approx(0.9 + 0.05 * sum((i + i % 2) % 3 for i in range(8, 12)) / 4)


def test_a_guard_that_turns_ends_the_run_after_that_round_and_says_so(tmp_path: Path) -> None:
    run = GuardedRun(tmp_path).rounds(RISES_THEN_FALLS)
    assert run.watch.ended_the_run and run.run_state.is_beyond_the_end(4)
    (note,) = run.notes
    assert note.startswith("the guard has turned: its mean fell from +0.9") and note.endswith("the run ends after round 4")
    summary = run.watch.summary()
    assert summary is not None and summary.turned and summary.stopped
    assert (summary.rounds, summary.best_version, summary.newest_version) == (4, 2, 3)
    assert summary.fall == pytest.approx(summary.best_score - summary.newest_score) and summary.fall > 2 * summary.fall_se


def test_without_guard_stop_it_is_said_and_the_best_version_is_the_result_only_if_the_guard_stays_down(tmp_path: Path) -> None:
    make_store(str(tmp_path), (2,))
    run = GuardedRun(tmp_path, "guard.stop=false").rounds(RISES_THEN_FALLS)
    assert not run.watch.ended_the_run and run.notes[0].endswith("the run goes on (guard.stop)")
    assert asyncio.run(run.watch.result()).rounds == 2
    run.round(0.95)
    assert asyncio.run(run.watch.result()).by == "last"


def test_a_run_resumed_from_its_checkpoint_decides_as_the_undisturbed_one(tmp_path: Path) -> None:
    whole = GuardedRun(tmp_path / "whole").rounds(RISES_THEN_FALLS)
    cut = GuardedRun(tmp_path / "cut").rounds(RISES_THEN_FALLS[:2])
    again = GuardedRun(tmp_path / "cut")
    again.run_state.restore(cut.run_state.state({}))
    again.watch.look(2)
    again.rounds(RISES_THEN_FALLS[2:])
    assert again.watch.summary() == whole.watch.summary() and again.notes == whole.notes
    late = GuardedRun(tmp_path / "late")
    late.run_state.restore(whole.run_state.state({}))
    late.watch.look(4)
    assert late.watch.ended_the_run and late.watch.summary() == whole.watch.summary()


def test_the_best_versions_checkpoint_stays_and_those_that_no_round_has_measured_yet(tmp_path: Path) -> None:
    """On policy, the version after n rounds is measured by round n."""
    run, kept = GuardedRun(tmp_path), []
    for mean in RISES_THEN_FALLS:
        run.round(mean)
        kept.append(set(run.watch.kept_steps()))
    assert kept == [{0, 1}, {1, 2}, {2, 3}, {2, 4}]


def test_at_a_staleness_of_one_a_version_is_measured_a_round_later(tmp_path: Path) -> None:
    run = GuardedRun(tmp_path, "rollout.max_staleness=1")
    for mean in RISES_THEN_FALLS:
        run.round(mean)
    verdict = run.watch.verdict(4)
    assert verdict is not None and (verdict.best.version, verdict.newest.version) == (1, 2)
    assert set(run.watch.kept_steps()) == {1, 3, 4}


def test_the_result_has_the_name_of_the_version_that_its_checkpoint_holds(tmp_path: Path) -> None:
    make_store(str(tmp_path), (2,))
    run = GuardedRun(tmp_path).rounds(RISES_THEN_FALLS)
    run.run_state.version = PolicyVersion(3, 4)
    result = asyncio.run(run.watch.result())
    assert (result.version, result.rounds, result.policy, result.by) == ("0.2", 2, "checkpoints/2/policy", "guard")
    assert "its mean fell from +0.9" in result.why


def test_where_the_best_versions_checkpoint_is_lost_the_last_version_is_the_result_and_it_is_said(tmp_path: Path) -> None:
    make_store(str(tmp_path), (2,))
    run = GuardedRun(tmp_path).rounds(RISES_THEN_FALLS)
    (tmp_path / "run/checkpoints/2/learner/weights").unlink()
    result = asyncio.run(run.watch.result())
    assert (result.version, result.rounds, result.by) == ("0.4", 4, "fallback")
    assert "is lost" in result.why and "is cut short: learner/weights is missing" in run.notes[-1]


def test_rounds_that_the_guard_did_not_score_say_nothing(tmp_path: Path) -> None:
    run = GuardedRun(tmp_path).rounds((0.5, None, 0.4))
    verdict = run.watch.verdict(3)
    assert verdict is not None and (verdict.rounds, verdict.best.version, verdict.newest.version) == (2, 0, 2)
    assert run.watch.score_of(1) is None


def test_without_a_guard_there_is_nothing_to_keep_or_to_say(tmp_path: Path) -> None:
    run = GuardedRun(tmp_path, "guard.reward=null").rounds(RISES_THEN_FALLS)
    assert (run.watch.is_on, run.watch.kept_steps(), run.watch.summary(), run.notes) == (False, (), None, [])
    result = asyncio.run(run.watch.result())
    assert (result.rounds, result.by, result.why) == (4, "last", "the last version: no guard compared it with others")
