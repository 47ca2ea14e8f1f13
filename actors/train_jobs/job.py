"""A training job on Ray Train: Ray Data streams the files to the ranks, each rank is a `Trainer`. What every such job shares.

A rank that dies takes its group with it; Ray Train starts a new group, which goes on from the last checkpoint, written after each epoch. So
an epoch counts once, and whole. The best model so far lies in the job's `out` at any time, the job's own files in a folder beside it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import ray.data
import ray.train

from actors.cluster.capacity import CapacityError, Need, live_nodes, refuse
from actors.cluster.connect import ray_cluster
from actors.cluster.resource_wait import resources_in_words
from actors.train_jobs.epoch_log import EpochLog
from actors.train_jobs.epoch_progress import OnEpoch, epoch_progress
from actors.train_jobs.job_identity import claim
from actors.train_jobs.placement_wait import found_no_room, placement_wait_notes
from actors.train_jobs.preflight import job_folder
from actors.train_jobs.process_log import job_log
from actors.train_jobs.stop_signals import STOPPED, StoppableTrainer
from caig_rl.config.schema import ClusterConfig
from caig_rl.config.tracking import LogsConfig
from caig_rl.config.training import TrainJobConfig
from caig_rl.data.clicks.splits import TRAIN, VALIDATION
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.errors import UserError
from caig_rl.learning.engine import init_group
from caig_rl.learning.regroup import load_at_any_size
from caig_rl.learning.train_task import TrainTask
from caig_rl.learning.trainer import Progress, Trainer, check_trained
from caig_rl.logs import SPOKEN, about

logger, spoken = logging.getLogger(__name__), logging.getLogger(SPOKEN)

ROOM_WAIT_S = 60.0
"""Longest attempt to place the ranks; the next asks anew. Ray Train's own default."""
DATA_CPUS = 1.0
"""What Ray reserves for a task that reads the files: where the ranks leave less, no row ever arrives."""
SHUFFLE_ROWS = 256
"""Rows that a rank holds to draw from at random."""


@dataclass(frozen=True, slots=True)
class TrainJob:
    """What every rank is told."""

    make_task: Callable[[], TrainTask]
    """Loads the model and says what is learned; called once on each rank."""
    train: TrainJobConfig
    out: Path
    """Absolute local folder for the best model; it takes the place of what is there (`refuse_out`)."""
    files: TrainingFiles
    """What it learns from, in a folder that every node sees."""
    identity: Mapping[str, Any]
    """`job_identity`: what it must share with the job that it goes on with."""
    seed: int
    begins_trained: bool = False
    """The model as it comes may stay the best."""
    logs: LogsConfig = field(default_factory=LogsConfig)
    """`stdout` is for the process that began the job."""


def run_train_job(job: TrainJob, cluster: ClusterConfig, on_epoch: OnEpoch) -> Progress:
    """Train, resuming a job of the same `out`; returns where it ended. `on_epoch` is given each epoch's numbers as it ends.

    Raises:
        ConfigError: another job began with the same `out`.
        CapacityError: the cluster has no room for the ranks, or had none within `cluster.start_timeout_s`.
        UserError: the job failed more often than `max_failures` allows, or ended without a model.
        SystemExit: SIGINT or SIGTERM came while it trained; the code is `STOPPED`.
    """
    folder = job_folder(job.out)
    claim(folder, job.out.name, job.identity)
    with job_log(folder, "controller", job.logs):
        logger.info("%d epochs on %d rank(s)", job.train.epochs, job.train.workers, extra={"rows": dict(job.files.rows)})
        try:
            progress = _fit(job, cluster, on_epoch)
            check_trained(progress)
        except UserError as error:
            spoken.error("the job failed: %s", error)
            raise
        logger.info("the job ended", extra={"numbers": asdict(progress)})
        return progress


def _fit(job: TrainJob, cluster: ClusterConfig, on_epoch: OnEpoch) -> Progress:
    train, folder = job.train, job_folder(job.out)

    def noted(row: Mapping[str, object]) -> None:
        logger.info("epoch %s ended", row["round"], extra={"epoch": row["round"], "numbers": dict(row)})
        on_epoch(row)

    with ray_cluster(cluster):
        if not cluster.autoscaling:
            refuse(job_needs(train), live_nodes())
        trainer = _torch_trainer(job, cluster)
        try:
            with placement_wait_notes(train.workers, cluster.wait_note_s, logger.warning), epoch_progress(folder, noted):
                trainer.fit()
        except (SystemExit, KeyboardInterrupt):
            # `ray.get` makes a KeyboardInterrupt of whatever a signal handler raises.
            raise SystemExit(STOPPED) from None
        except ray.train.TrainingFailedError as error:
            if found_no_room(error):
                ranks, _ = job_needs(train)
                raise CapacityError(
                    f"waited {cluster.start_timeout_s:.0f} s for {train.workers} training worker(s) of {_in_words(ranks.each)} each; "
                    f"{resources_in_words()}. Ask for fewer or smaller ones, add nodes, or raise cluster.start_timeout_s."
                ) from error
            raise UserError(f"training failed; the best model so far, if any, is in {job.out}. {error}") from error
    # Ray's own record of the metrics holds none where no checkpoint was written, and no NaN.
    return EpochLog(folder).progress()


def _torch_trainer(job: TrainJob, cluster: ClusterConfig) -> StoppableTrainer:
    """Ray Train's trainer for the job, on the cluster that this process has joined."""
    train, (ranks, _) = job.train, job_needs(job.train)
    # Workers take the driver's environment: one thread each as configured, and no accelerator where none is asked for.
    environment = {"OMP_NUM_THREADS": str(train.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if train.num_gpus == 0:
        environment |= {"DS_ACCELERATOR": "cpu", "TORCHDYNAMO_DISABLE": "1"}
    attempt_s = min(ROOM_WAIT_S, cluster.start_timeout_s)
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(attempt_s)
    data = ray.data.DataContext.get_current()
    # In the order of the files, or a job that lost a rank would differ from an undisturbed one by chance. Ray Train hands both on.
    data.enable_progress_bars, data.execution_options.preserve_order = False, True
    return StoppableTrainer(
        _train_rank,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=train.workers,
            use_gpu=train.num_gpus > 0,
            resources_per_worker=dict(ranks.each),
        ),
        run_config=ray.train.RunConfig(
            name=job.out.name,
            storage_path=str(job_folder(job.out)),
            # By default Ray Train tries for ever to place its ranks.
            failure_config=ray.train.FailureConfig(
                max_failures=train.max_failures, controller_failure_limit=ceil(cluster.start_timeout_s / attempt_s) - 1
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            worker_runtime_env={"env_vars": environment},
        ),
        datasets={split: ray.data.read_parquet(str(job.files.folder / f"{split}.parquet")) for split in (TRAIN, VALIDATION)},
    )


def job_needs(train: TrainJobConfig) -> list[Need]:
    """What a job reserves: its ranks, and the task that reads the files beside them."""
    each = {"CPU": train.num_cpus} | ({"GPU": train.num_gpus} if train.num_gpus else {})
    return [Need("training rank", train.workers, each), Need("reading the files", 1, {"CPU": DATA_CPUS})]


def _in_words(share: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in share.items())


def rows_per_rank(batch_size: int, world_size: int) -> int:
    """Rows of a step that each rank takes."""
    return max(batch_size // world_size, 1)


def steps_per_epoch(rows: int, world_size: int, batch_size: int) -> int:
    """Optimiser steps in an epoch over `rows`: ranks get equally many of them, and the last batch may be smaller."""
    return ceil(rows // world_size / rows_per_rank(batch_size, world_size))


def _train_rank(settings: dict[str, Any]) -> None:
    """One rank's life."""
    job: TrainJob = settings["job"]
    rank = ray.train.get_context().get_world_rank()
    logs = job.logs.model_copy(update={"stdout": False})
    with job_log(job_folder(job.out), "trainer", logs), about(rank=rank):
        _train(job, rank)


def _train(job: TrainJob, rank: int) -> None:
    import torch

    train, world_size = job.train, ray.train.get_context().get_world_size()
    torch.set_num_threads(train.threads)
    init_group(rank, world_size)
    steps = train.epochs * steps_per_epoch(job.files.rows[TRAIN], world_size, train.batch_size)
    trainer = Trainer(job.make_task(), train, rank, steps, job.seed)
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder, tempfile.TemporaryDirectory(prefix="caig-rl-regroup-") as staging:
            load_at_any_size(trainer, Path(folder), Path(staging))
    rows = rows_per_rank(train.batch_size, world_size)

    log = EpochLog(job_folder(job.out))
    if rank == 0:
        log.settle(trainer.progress)

    def after_epoch(progress: Progress) -> None:
        if progress.is_sound:
            _report(trainer)
        if rank == 0:
            log.note(progress)

    trainer.run(
        lambda epoch: _batches(TRAIN, rows, job.seed + epoch),
        lambda: _batches(VALIDATION, rows, None),
        lambda: _export(trainer, job.out, rank),
        after_epoch,
        job.begins_trained,
    )


def _batches(split: str, rows: int, shuffle_seed: int | None) -> Iterator[Any]:
    shard = ray.train.get_dataset_shard(split)
    shuffle = {} if shuffle_seed is None else {"local_shuffle_buffer_size": SHUFFLE_ROWS, "local_shuffle_seed": shuffle_seed}
    yield from shard.iter_batches(batch_size=rows, batch_format="numpy", **shuffle)


def _report(trainer: Trainer) -> None:
    """A barrier: every rank hands over its part of the checkpoint. It is uploaded when this returns, and counts up to a poll later."""
    with tempfile.TemporaryDirectory(prefix="caig-rl-job-") as folder:
        trainer.save(Path(folder))
        ray.train.report(asdict(trainer.progress), checkpoint=ray.train.Checkpoint.from_directory(folder))


def _export(trainer: Trainer, out: Path, rank: int) -> None:
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
