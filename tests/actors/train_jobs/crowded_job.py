"""A training job on a cluster whose CPUs others hold, for test_job.py: `python -m tests.actors.train_jobs.crowded_job ADDRESS FOLDER`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.cluster.capacity import CapacityError
from actors.train_jobs.job import TrainJob, run_train_job
from caig_rl.config.schema import ClusterConfig
from caig_rl.config.training import TrainJobConfig
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.learning.train_task import TrainTask

START_TIMEOUT_S = 6.0


def never() -> TrainTask:
    """What a rank would learn."""
    raise AssertionError("no rank can have started")


def main(address: str, folder: Path) -> None:
    """Ends 3 where the job was refused its places, with what it said on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for split in ("train", "validation"):
        pq.write_table(pa.table({"number": [1, 2, 3, 4]}), folder / f"{split}.parquet")
    files = TrainingFiles(folder, {"train": 4, "validation": 4}, {"train": "", "validation": ""}, is_reused=False)
    job = TrainJob(never, TrainJobConfig(), folder / "model", files, {}, seed=0)
    try:
        run_train_job(job, ClusterConfig(address=address, start_timeout_s=START_TIMEOUT_S, wait_note_s=1.0), on_epoch=print)
    except CapacityError as error:
        sys.stderr.write(f"refused: {error}\n")
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
