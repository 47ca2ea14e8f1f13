"""The whole loop end to end: real vLLM, diffusers, DeepSpeed and Ray over random tiny models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest

from actors.checkpoints.store import CheckpointStore
from actors.loop.run import run
from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Silent
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import read_gallery
from caig_rl.runs.summary import RunSummary, read_summary
from caig_rl.types import Rejected
from tests.actors.fakes import BrightnessJudge, FakeSource

REJECTED = [Rejected("products.csv row 3", "image_missing", "no such file")]


class Trigger(Silent):
    """Calls `act` once: at the start of the phase `name`, or when `scored` products were scored in it."""

    def __init__(self, act: Callable[[], None], name: str, scored: int = 0) -> None:
        self._act, self._name, self._scored, self._left = act, name, scored, -1

    def phase(self, name: str, total: int) -> None:
        if name == self._name:
            self._left = self._scored
            if not self._scored:
                self._act()

    def advanced(self, stage: str, count: int) -> None:
        if stage == "score" and self._left > 0:
            self._left -= count
            if self._left <= 0:
                self._act()


def _run(
    config: Config,
    name: str,
    *,
    resume: bool = False,
    source: FakeSource | None = None,
    held_out: FakeSource | None = None,
    progress: Trigger | None = None,
    stop: StopRequest | None = None,
) -> tuple[RunSummary, RunFolder]:
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    folder = RunFolder(config.run.root, name)
    ends = source or FakeSource(9, rejected=REJECTED), held_out or FakeSource(5, "held")
    return asyncio.run(run(config, *ends, BrightnessJudge(), folder, resume, progress=progress, stop=stop)), folder


def _num_pairs(folder: RunFolder) -> list[int]:
    return [folder.read_table(f"pairs/round-{number:05d}.parquet").num_rows for number in range(3)]


def _kill_learner() -> None:
    ranks = [one for one in psutil.Process().children(recursive=True) if "LearnerRank" in " ".join(one.cmdline())]
    assert len(ranks) == 1
    ranks[0].kill()


@pytest.fixture(scope="module")
def finished(cluster: None, tiny_config: Config) -> tuple[RunSummary, RunFolder]:
    return _run(tiny_config, "whole")


def test_every_admission_of_a_run_ends_in_one_outcome(finished: tuple[RunSummary, RunFolder]) -> None:
    summary, folder = finished
    products = summary.products
    assert products.admitted == 18
    assert products.trained + sum(products.failed.values()) + products.expired + products.tied == 18
    assert products.trained > 0 and products.rejected == {"image_missing": 1}
    assert folder.read_table("ledger.parquet").num_rows == 19


def test_each_round_makes_a_verified_version(finished: tuple[RunSummary, RunFolder]) -> None:
    summary, _ = finished
    assert (summary.status, summary.rounds, summary.policy_version) == ("done", 3, "0.3")
    assert (summary.sync.count, summary.sync.verified) == (4, 4)


def test_prompts_are_checked_in_every_round_and_at_both_ends(finished: tuple[RunSummary, RunFolder]) -> None:
    """The judge of these runs knows nothing of prompts: they are checked as plain language."""
    summary, folder = finished
    assert summary.prompts is not None and (summary.prompts.initial.trap, summary.prompts.final.trap) == (None, None)
    assert [row["trap_share"] for row in folder.read_metrics()] == [None] * 3
    assert all(0.0 <= row["malformed_share"] <= 1.0 for row in folder.read_metrics())
    assert summary.categories is None


def test_engine_and_learner_agree_on_every_sampled_token(finished: tuple[RunSummary, RunFolder]) -> None:
    for detail in finished[0].rounds_detail:
        assert detail.model_extra is not None and detail.model_extra["logprob_gap"] < 1e-4


def test_a_run_leaves_pairs_gallery_checkpoints_and_summary(finished: tuple[RunSummary, RunFolder]) -> None:
    summary, folder = finished
    assert read_summary(folder) == summary
    assert sum(_num_pairs(folder)) == summary.products.trained
    assert len(read_gallery(folder)) == 5
    assert folder.exists("checkpoints/3/manifest.json") and not folder.exists("checkpoints/1")
    assert folder.exists("checkpoints/3/policy/model.safetensors")


def test_a_run_stopped_in_mid_round_goes_on_to_the_same_weights(finished: tuple[RunSummary, RunFolder], tiny_config: Config) -> None:
    stop = StopRequest()
    # The round's two shards are on their way by then; the stop finds none, one or both through.
    stopped, _ = _run(tiny_config, "cut", progress=Trigger(stop.stop_now, "round 2 of 3"), stop=stop)
    assert (stopped.status, stopped.rounds) == ("stopped", 1)
    assert stopped.products.admitted + stopped.products.in_flight == 12
    resumed, folder = _run(tiny_config, "cut", resume=True)
    whole, whole_folder = finished
    assert (resumed.policy_version, resumed.policy.sha256) == ("1.3", whole.policy.sha256)
    assert (resumed.products, resumed.ctr) == (whole.products, whole.ctr)
    for number in range(3):
        name = f"pairs/round-{number:05d}.parquet"
        assert folder.read_table(name).column("scores") == whole_folder.read_table(name).column("scores")
    rows = folder.read_metrics()
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert [row["tied"] for row in rows] == [row["tied"] for row in whole_folder.read_metrics()]


def test_a_run_that_fails_says_why_and_can_be_gone_on_with(finished: tuple[RunSummary, RunFolder], tiny_config: Config) -> None:
    recovery = tiny_config.recovery.model_copy(update={"learner_restarts": 0})
    with pytest.raises(UserError, match="the learner lost a rank"):
        _run(tiny_config.model_copy(update={"recovery": recovery}), "failed", progress=Trigger(_kill_learner, "round 2 of 3"))
    folder = RunFolder(tiny_config.run.root, "failed")
    failed = read_summary(folder)
    assert (failed.status, failed.rounds) == ("failed", 1)
    assert failed.failure is not None and "the learner lost a rank" in failed.failure
    assert failed.products.in_flight > 0
    assert folder.read_table("ledger.parquet").column("outcome").null_count == failed.products.in_flight
    resumed, _ = _run(tiny_config, "failed", resume=True)
    assert (resumed.status, resumed.products) == ("done", finished[0].products)
    assert resumed.policy.sha256 == finished[0].policy.sha256


def test_a_run_that_loses_its_learner_trains_the_same_pairs_again_to_the_same_weights(
    finished: tuple[RunSummary, RunFolder], tiny_config: Config
) -> None:
    """With a checkpoint every second round, so that a whole round is rolled back with the rank."""
    learner = tiny_config.learner.model_copy(update={"checkpoint_every": 2})
    config = tiny_config.model_copy(update={"learner": learner})
    summary, folder = _run(config, "bereft", progress=Trigger(_kill_learner, "round 2 of 3"))
    whole = finished[0]
    assert (summary.status, summary.policy_version) == ("done", "1.3")
    assert summary.fleet is not None and summary.fleet.learner_restarts == 1
    assert [(one.incarnation, one.round) for one in summary.fleet.replayed] == [(1, 0)]
    assert summary.fleet.replayed[0].pairs == folder.read_table("pairs/round-00000.parquet").num_rows
    assert (summary.products, summary.policy.sha256, summary.ctr) == (whole.products, whole.policy.sha256, whole.ctr)


def test_with_a_staleness_of_one_rollout_runs_a_version_ahead_and_a_resume_keeps_the_pairs_that_waited(
    cluster: None, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is full when the first round's checkpoint is due, which the run survives."""
    seal = CheckpointStore._seal

    def full_at_one(store: CheckpointStore, step: int, *arguments: Any) -> None:
        if step == 1:
            raise OSError("No space left on device")
        seal(store, step, *arguments)

    monkeypatch.setattr(CheckpointStore, "_seal", full_at_one)
    rollout = tiny_config.rollout.model_copy(update={"max_staleness": 1})
    config = tiny_config.model_copy(update={"rollout": rollout})
    stop = StopRequest()
    stopped, _ = _run(config, "stale", progress=Trigger(stop.stop_now, "round 3 of 3"), stop=stop)
    assert (stopped.status, stopped.rounds) == ("stopped", 2)
    assert CheckpointStore(RunFolder(config.run.root, "stale"), 2).steps() == [0, 2]
    summary, folder = _run(config, "stale", resume=True)
    assert summary.status == "done" and summary.products.admitted == 18 and summary.products.expired == 0
    versions = [set(folder.read_table(f"pairs/round-{number:05d}.parquet").column("version").to_pylist()) for number in range(2)]
    assert versions == [{0}, {0}]
    assert sum(_num_pairs(folder)) == summary.products.trained


def test_products_that_cannot_be_measured_are_left_out_of_both_sides(cluster: None, tiny_config: Config) -> None:
    """At a learning rate of zero, so that what is left must not change at all."""
    learner = tiny_config.learner.model_copy(update={"lr": 0.0})
    rollout = tiny_config.rollout.model_copy(update={"rounds": 1})
    held_out = FakeSource(5, "held", vanished=["held3"])
    held_out.products[1] = replace(held_out.products[1], title="a mug <image>")
    summary, folder = _run(tiny_config.model_copy(update={"learner": learner, "rollout": rollout}), "still", held_out=held_out)
    assert summary.ctr is not None and summary.ctr.final == summary.ctr.initial
    assert summary.evaluation is not None
    assert (summary.evaluation.products, summary.evaluation.left_out) == (3, 2)
    assert [entry.product_id for entry in read_gallery(folder)] == ["held0", "held2", "held4"]


def test_a_second_run_into_the_same_folder_is_refused(finished: tuple[RunSummary, RunFolder], tiny_config: Config) -> None:
    with pytest.raises(UserError, match="--resume"):
        _run(tiny_config, "whole")
