"""`caig-rl pretrain` as a Ray Train job."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from actors.train_jobs.job import TrainJob
from caig_rl.config.schema import Config
from caig_rl.learning.pretrain_task import pretrain_task


def pretrain_job(config: Config, backbone: Path, train_rows: int) -> TrainJob:
    """The job that trains the policy's backbone on a training file of `train_rows` rows.

    Args:
        config: `pretrain`, `policy.trust_remote_code` and `run.seed` are read.
        backbone: checked model folder, on every node.
        train_rows: rows in the training file, each one example an epoch.
    """
    train, seed = config.pretrain, config.run.seed
    task = partial(pretrain_task, train, backbone, config.policy.trust_remote_code, seed)
    return TrainJob(task, train, Path(train.out).absolute(), train_rows, seed)
