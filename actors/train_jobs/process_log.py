"""The log of a training job: JSON lines in `logs/` of its folder, a file a process, in the form that a run's have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caig_rl.config.tracking import LogsConfig
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.process_log import RunLog


@contextmanager
def job_log(folder: Path, role: str, config: LogsConfig) -> Iterator[None]:
    """Inside the block this process's lines go there.

    Args:
        folder: the job's own, which every node sees; its name is the `run` of each line.
        role: "controller" for the process that began the job, "trainer" for its ranks.
        config: level, and whether the lines go to standard output too.
    """
    log = RunLog(RunFolder(str(folder.parent), folder.name), role, config)
    try:
        yield
    finally:
        log.close()
