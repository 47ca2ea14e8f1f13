"""MLflow as a tracker, by its client: the module's own functions keep the run in a thread's memory. Import only where it is installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from caig_rl.config.tracking import MlflowConfig
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.trackers.numbers import round_numbers

_STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_BATCH = 100
"""Most parameters that the server takes at a time."""
_LONGEST = 500
"""Most characters of a parameter's value that every server takes."""


class MlflowTracker:
    """One MLflow run; steps are rounds."""

    name = "mlflow"

    def __init__(self, config: MlflowConfig, folder: RunFolder, settings: Mapping[str, object], run_id: str | None) -> None:
        """`settings`: the resolved config by dotted key; `run_id`: of an earlier start of the same run; None: a new one."""
        tracking: Any = import_module("mlflow.tracking")
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = tracking.MlflowClient(tracking_uri=config.uri)
        if run_id is None:
            self.run_id = self._begin(config.experiment, folder, settings)
        else:
            self.run_id = run_id
            self._client.update_run(run_id, status="RUNNING")

    def log_round(self, row: Mapping[str, object]) -> None:
        """See `Tracker`."""
        step = row["round"]
        assert isinstance(step, int)
        self._client.log_batch(self.run_id, metrics=self._metrics(round_numbers(row), step))

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._client.log_batch(self.run_id, metrics=self._metrics(numbers, 0))
        self._client.set_terminated(self.run_id, status=_STATUS[status])

    def _begin(self, experiment: str, folder: RunFolder, settings: Mapping[str, object]) -> str:
        found = self._client.get_experiment_by_name(experiment)
        experiment_id = self._client.create_experiment(experiment) if found is None else found.experiment_id
        begun = self._client.create_run(experiment_id, run_name=folder.name, tags={"caig_rl.folder": folder.url})
        run_id = str(begun.info.run_id)
        params = [self._entities.Param(key, str(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(run_id, params=params[start : start + _BATCH])
        return run_id

    def _metrics(self, numbers: Mapping[str, float], step: int) -> list[Any]:
        now = int(time.time() * 1000)
        return [self._entities.Metric(name, value, now, step) for name, value in numbers.items()]
