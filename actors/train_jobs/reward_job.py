"""`caig-rl reward train` as a Ray Train job: Ray Data streams the training file to the ranks, each rank is a `RewardTrainer`.

A rank that dies takes its group with it; Ray Train starts a new group, which goes on from the last checkpoint, written after each epoch. So
an epoch counts once, and whole. The best model so far lies in `reward.train.out` at any time, the job's own files in a folder beside it.
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import ray.data
import ray.train
from ray.train.torch import TorchTrainer

from actors.capacity import Need, live_nodes, refuse
from actors.cluster import ray_cluster
from caig_rl.config.schema import Config
from caig_rl.data.clicks.splits import TRAIN, VALIDATION
from caig_rl.errors import UserError
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.learning.engine import init_group
from caig_rl.learning.reward_objective import LogFacts
from caig_rl.learning.reward_trainer import Groups, Progress, RewardTrainer

logger = logging.getLogger(__name__)

SHUFFLE_TESTS = 256
"""Tests that a rank holds to draw from at random."""


ROOM_WAIT_S = 60.0
"""Ray Train's own time limit for one attempt to place the ranks (RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S)."""


@dataclass(frozen=True, slots=True)
class RewardJob:
    """What every rank is told."""

    config: Config
    facts: LogFacts
    backbone: str
    """Checked model folder, on every node."""
    train_tests: int
    """Tests in the training file."""


def run_reward_job(job: RewardJob, files: Path) -> Progress:
    """Train from `files` (train.parquet, validation.parquet), resuming a job of the same `reward.train.out`; returns where it ended.

    Raises:
        CapacityError: the cluster has no room for the ranks.
        UserError: the job failed more often than `reward.train.max_failures` allows.
    """
    train = job.config.reward.train
    out = Path(train.out).absolute()
    # Workers take the driver's environment: one thread each as configured, and no accelerator where none is asked for.
    environment = {"OMP_NUM_THREADS": str(train.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if train.num_gpus == 0:
        environment |= {"DS_ACCELERATOR": "cpu", "TORCHDYNAMO_DISABLE": "1"}
    rank = {"CPU": train.num_cpus} | ({"GPU": train.num_gpus} if train.num_gpus else {})
    with ray_cluster(job.config.cluster):
        if not job.config.cluster.autoscaling:
            refuse([Need("reward rank", train.workers, rank)], live_nodes())
        ray.data.DataContext.get_current().enable_progress_bars = False
        trainer = TorchTrainer(
            _train_rank,
            train_loop_config={"job": job},
            scaling_config=ray.train.ScalingConfig(
                num_workers=train.workers,
                use_gpu=train.num_gpus > 0,
                resources_per_worker=rank,
            ),
            run_config=ray.train.RunConfig(
                name=out.name,
                storage_path=str(job_folder(out)),
                # Ray Train waits a minute at a time for room for its ranks, and by default for ever.
                failure_config=ray.train.FailureConfig(
                    max_failures=train.max_failures, controller_failure_limit=ceil(job.config.cluster.start_timeout_s / ROOM_WAIT_S)
                ),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
                worker_runtime_env={"env_vars": environment},
            ),
            datasets={split: ray.data.read_parquet(str(files / f"{split}.parquet")) for split in (TRAIN, VALIDATION)},
        )
        try:
            result = trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise UserError(f"reward training failed; the best model so far, if any, is in {out}. {error}") from error
    return Progress(**{name: value for name, value in result.metrics.items() if name in asdict(Progress())})


def _train_rank(settings: dict[str, Any]) -> None:
    """One rank's life."""
    import torch

    job: RewardJob = settings["job"]
    train, context = job.config.reward.train, ray.train.get_context()
    torch.set_num_threads(train.threads)
    rank, world_size = context.get_world_rank(), context.get_world_size()
    init_group(rank, world_size)
    steps = train.epochs * max(job.train_tests // train.batch_size, 1)
    trainer = RewardTrainer(train, job.config.clicks, job.facts, Path(job.backbone), rank, steps, job.config.run.seed)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            trainer.load(Path(folder))
    while trainer.progress.epoch < train.epochs and not trainer.progress.stopped:
        trainer.train_epoch(_batches(TRAIN, train.batch_size // world_size, job.config.run.seed + trainer.progress.epoch))
        is_best = trainer.validate(_batches(VALIDATION, train.batch_size // world_size, None))
        if is_best:
            _export(trainer, Path(train.out).absolute(), rank)
        _report(trainer)
        if rank == 0:
            _note(trainer.progress, job_folder(Path(train.out).absolute()))


def job_folder(out: Path) -> Path:
    """Where the job that makes the model `out` keeps its checkpoints, metrics and TensorBoard files."""
    return out.with_name(f"{out.name}-job")


def _note(progress: Progress, folder: Path) -> None:
    """A row of `metrics.jsonl` an epoch, after its checkpoint is safe: an epoch that is run again has no row yet."""
    run_folder = RunFolder(str(folder.parent), folder.name)
    numbers = {name: value for name, value in asdict(progress).items() if isinstance(value, (int, float)) and math.isfinite(value)}
    run_folder.append_metrics({"round": progress.epoch, **numbers})
    run_folder.close()


def _batches(split: str, tests: int, shuffle_seed: int | None) -> Iterator[Groups]:
    shard = ray.train.get_dataset_shard(split)
    shuffle = {} if shuffle_seed is None else {"local_shuffle_buffer_size": SHUFFLE_TESTS, "local_shuffle_seed": shuffle_seed}
    yield from shard.iter_batches(batch_size=max(tests, 1), batch_format="numpy", **shuffle)


def _report(trainer: RewardTrainer) -> None:
    """A barrier: every rank hands over its part of the checkpoint. Ray uploads it before it returns, or a kill just after would lose it."""
    with tempfile.TemporaryDirectory(prefix="caig-rl-reward-") as folder:
        trainer.save(Path(folder))
        ray.train.report(asdict(trainer.progress), checkpoint=ray.train.Checkpoint.from_directory(folder))


def _export(trainer: RewardTrainer, out: Path, rank: int) -> None:
    """The best model so far, whole or not at all."""
    fresh, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    if rank == 0:
        shutil.rmtree(fresh, ignore_errors=True)
    trainer.export(fresh)
    if rank == 0:
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.replace(old)
        fresh.replace(out)
        shutil.rmtree(old, ignore_errors=True)
