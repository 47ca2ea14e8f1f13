"""The log of a worker: JSON lines to Ray's own log of the process, and to the run folder where the worker's node sees it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import ray
from ray._private.worker import global_worker

from caig_rl.config.schema import Config
from caig_rl.logs import json_lines, listen
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.process_log import RunLog


def with_absolute_root(config: Config) -> Config:
    """`config` for processes whose working directory is another: `run.root` as an absolute path or a URI."""
    root = RunFolder(config.run.root, config.run.name).url.rpartition("/")[0]
    return config.model_copy(update={"run": config.run.model_copy(update={"root": root})})


def begin_worker_log(config: Config, role: str) -> None:
    """At the start of an actor of `role`. Outside a Ray worker (a unit test) it does nothing."""
    if global_worker.mode != ray.WORKER_MODE:
        return
    folder = RunFolder(config.run.root, config.run.name)
    # A folder that is not there lies on a disk of the controller's alone, or is no run's.
    if folder.is_local and Path(folder.url).is_dir():
        RunLog(folder, role, config.logs.model_copy(update={"stdout": False}), stream=sys.stderr)
    else:
        listen([json_lines(logging.StreamHandler(sys.stderr), config.run.name, role)], config.logs.level)
