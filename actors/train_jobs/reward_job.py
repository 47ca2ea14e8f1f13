"""`caig-rl reward train` as a Ray Train job."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from actors.train_jobs.job import TrainJob
from caig_rl.config.schema import Config
from caig_rl.learning.reward_objective import LogFacts
from caig_rl.learning.reward_task import RewardTask


def reward_job(config: Config, facts: LogFacts, backbone: Path, train_tests: int) -> TrainJob:
    """The job that trains `reward.train.form` on a training file of `train_tests` tests.

    Args:
        config: `reward.train`, `clicks` and `run.seed` are read.
        facts: what the whole training log says.
        backbone: checked model folder, on every node.
        train_tests: tests in the training file.
    """
    train, seed = config.reward.train, config.run.seed
    task = partial(RewardTask, train, config.clicks, facts, backbone, seed)
    return TrainJob(task, train, Path(train.out).absolute(), train_tests, seed)
