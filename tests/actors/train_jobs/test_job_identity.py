"""A training job that is started again goes on, unless it would learn something else: then it says what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.train_jobs.epoch_log import EpochLog
from actors.train_jobs.job_identity import claim, job_identity
from caig_rl.config.reward import RewardTrainConfig
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.errors import ConfigError
from caig_rl.learning.trainer import Progress


class Job:
    """Identities of jobs in one folder, by what they differ in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.backbone = folder / "model-job", folder / "backbone"
        self.backbone.mkdir()
        (self.backbone / "weights").write_text("one")

    def start(self, content: str = "aa", policy: str = "posterior", **settings: Any) -> None:
        files = TrainingFiles(self.folder / "files", {"train": 3, "validation": 2}, {"train": content, "validation": "bb"}, False)
        train = RewardTrainConfig(**settings)
        claim(self.folder, "model", job_identity("reward.train", train, files, self.backbone, 0, {"clicks.policy": policy}))
        (self.folder / "model").mkdir(exist_ok=True)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    begun = Job(tmp_path)
    begun.start()
    return begun


def test_a_job_is_gone_on_with_at_other_sizes_and_lengths(job: Job):
    job.start(workers=2, threads=4, num_cpus=1.0, epochs=30, patience=9, max_failures=0)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"content": "cc"}, "the training file='aa', and this run has 'cc'"),
        ({"policy": "official"}, "clicks.policy='posterior'"),
        ({"lr": 5e-4}, r"reward.train.lr=0.00015, and this run has 0.0005"),
        ({"form": "vam"}, "reward.train.form='scorer'"),
        ({"batch_size": 4}, "reward.train.batch_size=16"),
    ],
)
def test_a_job_that_would_learn_something_else_is_refused_by_name(job: Job, other: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=named):
        job.start(**other)
    # The refusal leaves the first job's claim as it is.
    job.start()


def test_another_backbone_under_the_same_name_is_refused(job: Job):
    (job.backbone / "weights").write_text("two")
    with pytest.raises(ConfigError, match="the backbone's files"):
        job.start()


def test_the_learning_rate_may_change_where_it_broke_the_job(job: Job):
    EpochLog(job.folder).note(Progress(epoch=2, dropped=3, stopped="broken_steps"))
    job.start(lr=5e-4)
    with pytest.raises(ConfigError, match=r"clicks\.policy"):
        job.start(lr=5e-4, policy="all")


def test_a_folder_whose_job_never_began_may_be_claimed_by_another(job: Job):
    (job.folder / "model").rmdir()
    job.start(lr=5e-4)
