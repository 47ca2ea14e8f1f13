"""Tells the driver of each epoch as it ends, by the rows that rank 0 writes: a training job is long, and should not be silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from actors.train_jobs.polling import polling
from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder

LOOK_S = 1.0
OnEpoch = Callable[[Mapping[str, object]], None]
"""Is given an epoch's row of `metrics.jsonl`."""


@contextmanager
def epoch_progress(folder: Path, on_epoch: OnEpoch) -> Iterator[None]:
    """Inside the block, and at its end once more, `on_epoch` is given the rows that come to `folder`'s `metrics.jsonl`.

    An epoch that is run again after a loss is given again.
    """
    files = RunFolder(str(folder.parent), folder.name)
    seen = len(files.read_metrics())

    def look() -> None:
        nonlocal seen
        try:
            rows = files.read_metrics()
        except UserError:  # a row that is being written; the next look has it whole
            return
        for row in rows[seen:]:
            on_epoch(row)
        seen = len(rows)

    try:
        with polling(look, LOOK_S, "epochs"):
            yield
    finally:
        look()
