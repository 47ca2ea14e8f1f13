"""Experiment trackers beside the run folder: each takes the row of a round, and the numbers of the end.

The id that a tracker gives a run is kept in `tracking.json`, so that a resumed run goes on in the same place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Protocol

from caig_rl.config.keys import values
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder

TRACKING_FILE = "tracking.json"
_PACKAGES = {"wandb": ("wandb", "wandb"), "mlflow": ("mlflow", "mlflow-skinny")}
"""By tracker: the module, and what pip calls the smallest package that has it."""


class Tracker(Protocol):
    """One place that a run reports to. Methods may block, and may raise whatever its client raises."""

    name: str
    run_id: str

    def log_round(self, row: Mapping[str, object]) -> None:
        """A row of `metrics.jsonl`: an integer "round", and numbers; None where one was not measured."""

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """The run is "done", "stopped" (and may go on later) or "failed"; `numbers` are those of `run_numbers.final_numbers`."""


def configured_trackers(config: Config) -> list[str]:
    """Names of the trackers that `config` asks for."""
    return [name for name, wanted in (("wandb", config.tracking.wandb.project), ("mlflow", config.tracking.mlflow.uri)) if wanted]


def refuse_missing_trackers(config: Config) -> None:
    """Before anything starts. Raises UserError where a tracker is configured and its package is not installed."""
    for name in configured_trackers(config):
        module, package = _PACKAGES[name]
        if find_spec(module) is None:
            key = "tracking.wandb.project" if name == "wandb" else "tracking.mlflow.uri"
            raise UserError(f"{key} is set, and the package {module} is not installed: pip install {package}, or leave the key empty")


def open_trackers(config: Config, folder: RunFolder) -> list[Tracker]:
    """Begin, or go on, in every tracker that `config` asks for, and note the ids in the run folder.

    Args:
        config: of the run.
        folder: of the run, prepared; holds the ids of an earlier start.

    Raises:
        UserError: a package is missing, or a tracker refuses or cannot be reached.
    """
    refuse_missing_trackers(config)
    known: dict[str, str] = json.loads(folder.read_text(TRACKING_FILE)) if folder.exists(TRACKING_FILE) else {}
    opened: list[Tracker] = []
    for name in configured_trackers(config):
        try:
            opened.append(_open(name, config, folder, known.get(name)))
        except Exception as error:  # whatever its client raises: a run without the tracker that was asked for is not what was asked for
            raise UserError(f"the tracker {name} does not take the run: {' '.join(str(error).split())[:300]}") from error
    if opened:
        folder.write_text(TRACKING_FILE, json.dumps(known | {one.name: one.run_id for one in opened}, indent=1) + "\n")
    return opened


def _open(name: str, config: Config, folder: RunFolder, run_id: str | None) -> Tracker:
    settings = values(config)
    if name == "wandb":
        from caig_rl.runs.trackers.wandb_tracker import WandbTracker

        return WandbTracker(config.tracking.wandb, folder, settings, run_id)
    from caig_rl.runs.trackers.mlflow_tracker import MlflowTracker

    return MlflowTracker(config.tracking.mlflow, folder, settings, run_id)
