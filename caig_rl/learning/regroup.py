"""Loads an engine's checkpoint at another number of ranks than wrote it, through DeepSpeed's universal form.

A ZeRO checkpoint is cut into one piece of optimiser state a rank and loads at that number alone. Its universal form holds each weight's
state whole, and any group takes its share of that.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from caig_rl.errors import CheckpointError
from caig_rl.learning.engine_checkpoint import CHECKPOINT_TAG, SHAPE_FILE


class Regroupable(Protocol):
    """What holds an engine: the online learner, or the trainer of a job."""

    engine: Any
    world_size: int

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint of the same shape."""


def load_at_any_size(learner: Regroupable, folder: Path, staging: Path) -> None:
    """`learner.load(folder)`, also where another number of ranks wrote it. All ranks call, each with an empty `staging` of its own.

    Raises:
        CheckpointError: no checkpoint there, one cut short, or one that differs in more than the number of ranks.
    """
    shape_file = folder / SHAPE_FILE
    if not shape_file.is_file() or json.loads(shape_file.read_text(encoding="utf-8"))["world_size"] == learner.world_size:
        learner.load(folder)
        return
    shape = json.loads(shape_file.read_text(encoding="utf-8")) | {"world_size": learner.world_size}
    (staging / SHAPE_FILE).write_text(json.dumps(shape) + "\n", encoding="utf-8")
    # A reference that has moved is not cut.
    for whole in folder.glob("*.safetensors"):
        shutil.copy(whole, staging)
    if shape["zero_stage"] == 0:
        # Nothing is cut: every rank holds all of it.
        shutil.copytree(folder / CHECKPOINT_TAG, staging / CHECKPOINT_TAG)
        learner.load(staging)
        return
    _make_universal(folder / CHECKPOINT_TAG, staging / CHECKPOINT_TAG)
    # DeepSpeed asks its own settings for the form at the moment of loading; later checkpoints are of the usual form again.
    learner.engine._config.load_universal_checkpoint = True
    try:
        learner.load(staging)
    finally:
        learner.engine._config.load_universal_checkpoint = False


def _make_universal(source: Path, target: Path) -> None:
    """In a process of its own: DeepSpeed's converter is a program, and prints."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(source), "--output_folder", str(target)]
    options = ["--inject_missing_state", "--num_extract_workers", "1", "--num_merge_workers", "1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CheckpointError(f"{source}: it cannot be brought into the form that another number of ranks reads ({reason})")
