"""Checkpoints of a DeepSpeed engine, one format for the online learner and the training jobs: every rank's part, and the shape it was cut
in, so that one of another shape is refused by name (or regrouped, `learning.regroup`) and never loaded wrongly."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from caig_rl.errors import CheckpointError

CHECKPOINT_TAG = "learner"
SHAPE_FILE = "learner.json"


def save_engine(engine: Any, folder: Path, rank: int, shape: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write trained weights, optimiser, `state` and the random state into `folder`; all ranks call, rank 0 writes `shape` beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    client = {**state, "random_state": torch.get_rng_state()}
    engine.save_checkpoint(str(folder), tag=CHECKPOINT_TAG, client_state=client, exclude_frozen_parameters=True)
    if rank == 0:
        (folder / SHAPE_FILE).write_text(json.dumps(shape) + "\n", encoding="utf-8")


def load_engine(engine: Any, folder: Path, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Go on from what `save_engine` wrote with the same `shape`; returns its `state`. All ranks call.

    Raises:
        CheckpointError: no checkpoint there, one cut short, or one of another shape.
    """
    if not (folder / SHAPE_FILE).is_file():
        raise CheckpointError(f"{folder}: no learner checkpoint in it ({SHAPE_FILE} is missing)")
    written = json.loads((folder / SHAPE_FILE).read_text(encoding="utf-8"))
    if written != shape:
        raise CheckpointError(f"{folder}: the checkpoint was written with {written}, but the config says {shape}")
    try:
        loaded, state = engine.load_checkpoint(str(folder), tag=CHECKPOINT_TAG, load_module_strict=False)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder}: the learner's checkpoint cannot be read ({error}); it may be cut short") from error
    if loaded is None:
        raise CheckpointError(f"{folder}: the learner's checkpoint is incomplete")
    torch.set_rng_state(state["random_state"])
    return dict(state)
