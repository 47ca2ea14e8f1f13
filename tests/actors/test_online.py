"""The whole loop end to end: real vLLM, diffusers, DeepSpeed and Ray over random tiny models."""

from __future__ import annotations

import asyncio

import pytest

from actors.online import run
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.gallery import read_gallery
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.evaluation.summary import RunSummary, read_summary
from caig_rl.types import Rejected
from tests.actors.fakes import BrightnessJudge, FakeSource

REJECTED = [Rejected("products.csv row 3", "image_missing", "no such file")]


def _run(config: Config, name: str, *, resume: bool = False, stop_after: int | None = None) -> tuple[RunSummary, RunFolder]:
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    folder = RunFolder(config.run.root, name)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_after

    source, held_out = FakeSource(9, rejected=REJECTED), FakeSource(5, "held")
    summary = asyncio.run(run(config, source, held_out, BrightnessJudge(), folder, resume, should_stop=should_stop))
    return summary, folder


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


def test_engine_and_learner_agree_on_every_sampled_token(finished: tuple[RunSummary, RunFolder]) -> None:
    for detail in finished[0].rounds_detail:
        assert detail.model_extra is not None and detail.model_extra["logprob_gap"] < 1e-4


def test_a_run_leaves_pairs_gallery_checkpoints_and_summary(finished: tuple[RunSummary, RunFolder]) -> None:
    summary, folder = finished
    assert read_summary(folder) == summary
    assert sum(folder.read_table(f"pairs/round-{number:05d}.parquet").num_rows for number in range(3)) == summary.products.trained
    assert len(read_gallery(folder)) == 5
    assert folder.exists("checkpoints/3/manifest.json") and not folder.exists("checkpoints/1")
    assert folder.exists("checkpoints/3/policy/model.safetensors")


def test_a_run_that_was_stopped_and_resumed_ends_where_the_whole_one_did(
    finished: tuple[RunSummary, RunFolder], tiny_config: Config
) -> None:
    stopped, _ = _run(tiny_config, "cut", stop_after=1)
    assert (stopped.status, stopped.rounds) == ("stopped", 1)
    resumed, folder = _run(tiny_config, "cut", resume=True)
    whole, whole_folder = finished
    assert resumed.policy_version == "1.3"
    assert resumed.products == whole.products
    assert resumed.ctr == whole.ctr
    assert folder.read_table("pairs/round-00002.parquet").column("scores") == whole_folder.read_table("pairs/round-00002.parquet").column(
        "scores"
    )


def test_with_a_staleness_of_one_rollout_runs_a_version_ahead_of_learning(cluster: None, tiny_config: Config) -> None:
    rollout = tiny_config.rollout.model_copy(update={"max_staleness": 1})
    summary, folder = _run(tiny_config.model_copy(update={"rollout": rollout}), "stale")
    assert summary.status == "done" and summary.products.admitted == 18 and summary.products.expired == 0
    versions = [set(folder.read_table(f"pairs/round-{number:05d}.parquet").column("version").to_pylist()) for number in range(3)]
    assert versions == [{0}, {0}, {1}]


def test_a_learning_rate_of_zero_leaves_the_clicks_where_they_were(cluster: None, tiny_config: Config) -> None:
    learner = tiny_config.learner.model_copy(update={"lr": 0.0})
    rollout = tiny_config.rollout.model_copy(update={"rounds": 1})
    summary, _ = _run(tiny_config.model_copy(update={"learner": learner, "rollout": rollout}), "still")
    assert summary.ctr is not None and summary.ctr.final == summary.ctr.initial


def test_a_second_run_into_the_same_folder_is_refused(finished: tuple[RunSummary, RunFolder], tiny_config: Config) -> None:
    with pytest.raises(UserError, match="--resume"):
        _run(tiny_config, "whole")
