"""Where a run's log and its numbers go, beside the run folder's own `metrics.jsonl` and TensorBoard files."""

from __future__ import annotations

from typing import Literal

from caig_rl.config.section import Section


class LogsConfig(Section):
    """Structured logs: JSON lines in `logs/` of the run folder, a file a process."""

    level: Literal["debug", "info", "warning"] = "info"
    """Least level of our own lines; of other libraries, warnings and worse are kept."""
    stdout: bool = False
    """The controller writes its JSON lines to standard output too, in place of the lines meant for a person."""


class WandbConfig(Section):
    """Weights & Biases; needs the package `wandb`."""

    project: str | None = None
    """Project that the run reports to. Empty: none."""
    entity: str | None = None
    """User or team of the project; empty: the key's own."""
    mode: Literal["online", "offline"] = "online"
    """"offline" writes to the run folder, for `wandb sync` later."""


class MlflowConfig(Section):
    """MLflow; needs the package `mlflow` or `mlflow-skinny`."""

    uri: str | None = None
    """Tracking server that the run reports to, "http://HOST:5000". Empty: none."""
    experiment: str = "caig-rl"
    """Made where there is none of this name."""


class TrackingConfig(Section):
    """Experiment trackers that a run reports to."""

    wandb: WandbConfig = WandbConfig()
    mlflow: MlflowConfig = MlflowConfig()
