"""`caig-rl pretrain` as a Ray Train job."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from actors.train_jobs.job import TrainJob
from actors.train_jobs.job_identity import job_identity
from caig_rl.config.schema import Config
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.learning.pretrain.task import pretrain_task


def pretrain_job(config: Config, backbone: Path, files: TrainingFiles) -> TrainJob:
    """The job that trains the policy's backbone on `files`, a row an example.

    Args:
        config: `pretrain`, `policy.trust_remote_code`, `run.seed` and `logs` are read.
        backbone: checked model folder, on every node.
        files: see `write_pretrain_rows`.
    """
    train, seed = config.pretrain, config.run.seed
    task = partial(pretrain_task, train, backbone, config.policy.trust_remote_code, seed)
    identity = job_identity("pretrain", train, files, backbone, seed, {})
    return TrainJob(task, train, Path(train.out).absolute(), files, identity, seed, logs=config.logs)
