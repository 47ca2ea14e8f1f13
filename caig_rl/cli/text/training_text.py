"""How a training job ended, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from caig_rl.errors import UserError

if TYPE_CHECKING:
    from actors.train_jobs.job import TrainJob
    from caig_rl.config.schema import ClusterConfig
    from caig_rl.learning.trainer import Progress

_NUMBERS = (("train_loss", "loss", ".4f"), ("validation_loss", "validation", ".4f"), ("validation_accuracy", "pairs in order", ".1%"))
"""Column of `metrics.jsonl`, its name for people, its format."""
REASONS = {"": "all epochs done", "patience": "validation stopped improving", "broken_steps": "three broken steps in a row"}


def train_and_tell(job: TrainJob, cluster: ClusterConfig, console: Console) -> None:
    """Run the job, and print on `console` whence it goes on, its epochs, and how it ended.

    Raises:
        UserError: it failed, or stopped at broken steps.
        SystemExit: it was stopped, and can be gone on with; its code is 75.
    """
    from actors.train_jobs.job import run_train_job

    try:
        progress = run_train_job(job, cluster, _told_epochs(job, console))
    except SystemExit:
        console.print("stopped; the same command goes on after the last epoch (exit code 75)", highlight=False)
        raise
    print_training(progress, job.out, console)


def _told_epochs(job: TrainJob, console: Console) -> Callable[[Mapping[str, object]], None]:
    """Say on `console` what is about to begin; returns what prints a line for each epoch's row."""
    from actors.train_jobs.epoch_log import EpochLog
    from actors.train_jobs.preflight import job_folder

    train, done = job.train, EpochLog(job_folder(job.out)).epochs_done()
    begun = f"training {train.epochs} epochs on {train.workers} rank(s); a line for each as it ends"
    console.print(f"going on after epoch {done}: {begun}" if done else begun, highlight=False, soft_wrap=True)

    def tell(row: Mapping[str, object]) -> None:
        numbers = [f"{label} {row[name]:{form}}" for name, label, form in _NUMBERS if name in row]
        best = "  best so far" if row["best_epoch"] == row["round"] else ""
        console.print(f"epoch {row['round']} of {train.epochs}  {'  '.join(numbers)}{best}", highlight=False, soft_wrap=True)

    return tell


def print_training(progress: Progress, out: Path, console: Console) -> None:
    """Print on `console` how far the job came and where its files are.

    Raises:
        UserError: it stopped at broken steps. The best model so far is there, but exit code 0 would say that it was trained to the end.
    """
    from actors.train_jobs.preflight import job_folder

    best = progress.best_epoch or "the model it began with"
    console.print(
        f"{progress.epoch} epochs ({REASONS[progress.stopped]}); best was {best}, validation loss {progress.best_loss:.4f}; "
        f"{progress.dropped} steps dropped\nmodel: {out}\nmetrics and checkpoints: {job_folder(out)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if progress.stopped == "broken_steps":
        raise UserError(
            f"three steps in a row had no finite loss or gradient; {out} is the best model before them. Lower the learning rate, run again"
        )
