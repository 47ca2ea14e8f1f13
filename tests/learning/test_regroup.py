"""A group of two ranks that goes on as one, from the same weights and optimiser state: the online learner, and a training job."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import torch

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.learning.engine import free_port, init_group
from caig_rl.learning.engine_checkpoint import SHAPE_FILE
from caig_rl.learning.preference.learner import PreferenceLearner
from caig_rl.learning.regroup import load_at_any_size
from caig_rl.learning.reward.task import RewardTask
from caig_rl.learning.trainer import Trainer
from caig_rl.models.reward.loading import load_reward
from tests.learning.logged import make_facts, make_groups
from tests.learning.pairs import make_config, make_pairs, make_views
from tests.tiny import make_tiny_policy

PAIRS, VIEWS = make_pairs(4), make_views(4)
TOTAL_STEPS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


def _start(config: Config) -> PreferenceLearner:
    init_group(0, 1)
    return PreferenceLearner(config, 0, 1, TOTAL_STEPS)


def _two_rounds_with_a_checkpoint_between(rank: int, port: int, config: Config, checkpoint: Path, result: Path) -> None:
    torch.set_num_threads(1)
    init_group(rank, 2, "127.0.0.1", port)
    learner = PreferenceLearner(config, rank, 2, TOTAL_STEPS)
    learner.train_round(PAIRS, VIEWS)
    learner.save(checkpoint)
    before = learner.export_weights()
    metrics = learner.train_round(PAIRS, VIEWS)
    after = learner.export_weights()
    if rank == 0:
        torch.save({"before": before, "after": after, "loss": metrics.loss, "lr": metrics.lr}, result)


@pytest.mark.parametrize("zero_stage", [1, 2])
def test_a_checkpoint_of_two_ranks_goes_on_in_a_group_of_one(zero_stage: int, folder: Path, tmp_path: Path) -> None:
    checkpoint, result, staging = tmp_path / "checkpoint", tmp_path / "result.pt", tmp_path / "staging"
    checkpoint.mkdir()
    staging.mkdir()
    context, port = multiprocessing.get_context("spawn"), free_port()
    config = make_config(folder, world_size=2, zero_stage=zero_stage)
    arguments = (port, config, checkpoint, result)
    ranks = [context.Process(target=_two_rounds_with_a_checkpoint_between, args=(rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=240)
    assert [process.exitcode for process in ranks] == [0, 0]
    both = torch.load(result)

    learner = _start(make_config(folder, zero_stage=zero_stage))
    with pytest.raises(CheckpointError, match="world_size"):
        learner.load(checkpoint)
    load_at_any_size(learner, checkpoint, staging)
    weights = learner.export_weights()
    assert all(torch.equal(both["before"][name], weights[name]) for name in weights)
    metrics = learner.train_round(PAIRS, VIEWS)
    # The second step is right only where Adam's moments and the step count came along.
    assert (metrics.loss, metrics.lr) == pytest.approx((both["loss"], both["lr"]), rel=1e-4)
    weights = learner.export_weights()
    assert all(torch.allclose(both["after"][name], weights[name], atol=2e-5) for name in weights)
    assert any(not torch.equal(both["before"][name], weights[name]) for name in weights)


def _make_job(folder: Path, form: str, workers: int, rank: int) -> Trainer:
    config = RewardTrainConfig(form=form, workers=workers, batch_size=8, lr=2e-3, zero_stage=2)
    # The ranks' shares hold unequally many significant pairs.
    return Trainer(RewardTask(config, ClicksConfig(policy="significant"), make_facts(), folder, 0), config, rank, TOTAL_STEPS, 0)


def _two_epochs_of_a_job_with_a_checkpoint_between(rank: int, port: int, folder: Path, form: str, checkpoint: Path, result: Path) -> None:
    torch.set_num_threads(1)
    init_group(rank, 2, "127.0.0.1", port)
    job = _make_job(folder, form, 2, rank)
    own = [{name: values[rank::2] for name, values in batch.items()} for batch in make_groups(64, range(16))]
    job.train_epoch(own)
    job.save(checkpoint)
    job.export(result / "before")
    job.train_epoch(own)
    job.export(result / "after")


@pytest.mark.parametrize("form", ["scorer", "cg4ctr"])
def test_a_job_of_two_ranks_goes_on_with_one(form: str, folder: Path, tmp_path: Path) -> None:
    checkpoint, staging = tmp_path / "checkpoint", tmp_path / "staging"
    staging.mkdir()
    context, port = multiprocessing.get_context("spawn"), free_port()
    ranks = [
        context.Process(target=_two_epochs_of_a_job_with_a_checkpoint_between, args=(rank, port, folder, form, checkpoint, tmp_path))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=240)
    assert [process.exitcode for process in ranks] == [0, 0]

    init_group(0, 1)
    job = _make_job(folder, form, 1, 0)
    load_at_any_size(job, checkpoint, staging)
    assert job.progress.step == 2
    job.export(tmp_path / "loaded")
    job.train_epoch(make_groups(64, range(16)))
    job.export(tmp_path / "gone on")
    assert job.progress.examples == 16
    before, after, loaded, gone_on = (load_reward(tmp_path / name) for name in ("before", "after", "loaded", "gone on"))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in before.state_dict().items())
    # Two halves of a batch, each by its weight, are the whole: both groups take the same steps, tau's own rate included.
    apart = {name: float((value - gone_on.state_dict()[name]).abs().max()) for name, value in after.state_dict().items()}
    if form == "cg4ctr":
        del apart["heads.score.bias"]  # in no difference of scores: rounding alone moves it
    assert max(apart.values()) < 2e-5, {name: value for name, value in apart.items() if value >= 2e-5}
    if form != "scorer":
        return
    assert gone_on.spec.tau == pytest.approx(after.spec.tau, rel=1e-4)
    assert gone_on.spec.tau != pytest.approx(before.spec.tau, rel=1e-3)


def test_one_of_the_right_size_is_loaded_as_it_is_and_another_difference_is_refused(folder: Path, tmp_path: Path) -> None:
    learner = _start(make_config(folder))
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    learner.save(checkpoint)
    load_at_any_size(learner, checkpoint, tmp_path / "never used")
    shape = json.loads((checkpoint / SHAPE_FILE).read_text())
    (checkpoint / SHAPE_FILE).write_text(json.dumps(shape | {"lora_rank": 99}))
    with pytest.raises(CheckpointError, match="99"):
        load_at_any_size(learner, checkpoint, tmp_path / "never used")
