"""What a training job says of its epochs: `metrics.jsonl`, a row each, and `progress.json`, where the job stands. Written by rank 0.

`ray.train.report` returns before the checkpoint counts: the controller polls every 2 s, wants the report of every rank, and drops what is
incomplete when a rank dies. So an epoch may have its row and no checkpoint (it is run again), or a checkpoint and no row. Each start of the
group settles that, against the checkpoint that it goes on from.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from caig_rl.learning.trainer import Progress
from caig_rl.runs.folder import RunFolder

METRICS, PROGRESS = "metrics.jsonl", "progress.json"


class EpochLog:
    """The two files in a job's folder."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the job's own, seen by the driver and by rank 0."""
        self._folder = RunFolder(str(folder.parent), folder.name)

    def settle(self, progress: Progress) -> None:
        """A group begins at `progress`, the checkpoint's or a fresh one: rows of later epochs go, the row of its epoch is there."""
        rows = self._folder.read_metrics()
        kept = [row for row in rows if int(str(row["round"])) <= progress.epoch]
        if len(kept) < len(rows):
            self._folder.write_text(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept))
        if progress.epoch and progress.epoch not in [row["round"] for row in kept]:
            self.note(progress)
        self._write(progress)

    def note(self, progress: Progress) -> None:
        """An epoch is over."""
        numbers = {name: value for name, value in asdict(progress).items() if isinstance(value, (int, float)) and math.isfinite(value)}
        self._folder.append_metrics({"round": progress.epoch, **numbers})
        self._folder.close()
        self._write(progress)

    def progress(self) -> Progress:
        """Where the job stands. Raises UserError where no group has begun yet."""
        unknown = asdict(Progress())
        values = json.loads(self._folder.read_text(PROGRESS))
        return Progress(**{name: unknown[name] if value is None else value for name, value in values.items()})

    def epochs_done(self) -> int:
        """Epochs that an earlier start left; 0 where there was none."""
        return self.progress().epoch if self._folder.exists(PROGRESS) else 0

    def has_broken(self) -> bool:
        """True where the job stopped at broken steps."""
        return self._folder.exists(PROGRESS) and self.progress().stopped == "broken_steps"

    def _write(self, progress: Progress) -> None:
        """JSON has no NaN: what is not known yet is null."""
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(progress).items()
        }
        self._folder.write_text(PROGRESS, json.dumps(values, indent=1, allow_nan=False) + "\n")
