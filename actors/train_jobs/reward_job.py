"""`caig-rl reward train` as a Ray Train job."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from actors.train_jobs.job import TrainJob
from actors.train_jobs.job_identity import job_identity
from caig_rl.config.schema import Config
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.learning.reward.objective import LogFacts
from caig_rl.learning.reward.task import RewardTask


def reward_job(config: Config, facts: LogFacts, backbone: Path, files: TrainingFiles) -> TrainJob:
    """The job that trains `reward.train.form` on `files`, a row a test.

    Args:
        config: `reward.train`, `clicks`, `segments`, `run.seed` and `logs` are read.
        facts: what the whole training log says.
        backbone: checked model folder, on every node; with `start_from`, the reward folder it names.
        files: see `write_groups`.
    """
    train, seed = config.reward.train, config.run.seed
    segments = config.segments.names
    task = partial(RewardTask, train, config.clicks, facts, backbone, seed, segments)
    apart: dict[str, object] = {"clicks.policy": config.clicks.policy, "the log's facts": asdict(facts)}
    if segments:  # named only then, so that a job of before there were segments can be gone on with
        apart["segments.names"] = segments
    identity = job_identity("reward.train", train, files, backbone, seed, apart)
    return TrainJob(task, train, Path(train.out).absolute(), files, identity, seed, train.start_from is not None, config.logs)
