"""Weights & Biases as a tracker. Import it only where `wandb` is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from caig_rl.config.tracking import WandbConfig
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.trackers.numbers import round_numbers


class WandbTracker:
    """One W&B run. Its x-axis is the round, so that a round which a resume trains again replaces nothing and refuses nothing."""

    name = "wandb"

    def __init__(self, config: WandbConfig, folder: RunFolder, settings: Mapping[str, object], run_id: str | None) -> None:
        """`settings`: the resolved config by dotted key; `run_id`: of an earlier start of the same run; None: a new one."""
        wandb: Any = import_module("wandb")
        self._run: Any = wandb.init(
            project=config.project,
            entity=config.entity,
            mode=config.mode,
            name=folder.name,
            id=run_id,
            resume="allow",
            dir=folder.url if folder.is_local else None,
            config=dict(settings),
        )
        self._run.define_metric("*", step_metric="round")
        self.run_id = str(self._run.id)

    def log_round(self, row: Mapping[str, object]) -> None:
        """See `Tracker`."""
        self._run.log({"round": row["round"], **round_numbers(row)})

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.summary.update({"status": status, **numbers})
        self._run.finish(exit_code=1 if status == "failed" else 0)
