"""What makes a training job the same job when it is started again: what it learns from, and how. Another one must not go on from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.checkpoints.compatibility import first_difference
from actors.train_jobs.epoch_log import EpochLog
from caig_rl.config.training import TrainJobConfig
from caig_rl.data.clicks.files import write_text
from caig_rl.data.clicks.training_files import TrainingFiles
from caig_rl.errors import ConfigError
from caig_rl.serving.versions import folder_digest

JOB = "job.json"
MAY_DIFFER = {
    *("workers", "num_cpus", "num_gpus", "threads", "micro_batch_size"),
    *("epochs", "patience", "max_failures"),
    *("out", "backbone", "start_from"),
}
"""Keys of a job's section that may change from start to start. Backbone or start are known by their content."""


def job_identity(
    section: str, train: TrainJobConfig, files: TrainingFiles, backbone: Path, seed: int, apart: Mapping[str, Any]
) -> dict[str, Any]:
    """Dotted key, or words -> value.

    Args:
        section: the job's section in the config, as "reward.train".
        train: that section.
        files: what is trained on.
        backbone: checked model folder.
        seed: `run.seed`.
        apart: what else decides what is learned.
    """
    values = train.model_dump(mode="json", exclude=MAY_DIFFER)
    return {
        **{f"{section}.{key}": value for key, value in values.items()},
        **apart,
        "run.seed": seed,
        "the training file": files.content["train"][:16],
        "the validation file": files.content["validation"][:16],
        "the backbone's files": folder_digest(backbone)[:16],
    }


def claim(folder: Path, name: str, identity: Mapping[str, Any]) -> None:
    """Note in the job folder `folder` whose it is; `name` is Ray Train's folder in it, there once a job has begun.

    Raises:
        ConfigError: another job began there, with what differs. Where that one stopped at broken steps, its learning rate may differ.
    """
    wanted = json.loads(json.dumps(identity))
    file, log = folder / JOB, EpochLog(folder)
    if (folder / name).exists():
        begun = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        asked = {key: value for key, value in wanted.items() if not (key.endswith(".lr") and log.has_broken())}
        difference = first_difference(begun, asked)
        if difference:
            raise ConfigError(f"the job in {folder} {difference}. Name another folder for the model, or remove that one to begin anew")
    write_text(str(folder), JOB, json.dumps(wanted, indent=1) + "\n")
