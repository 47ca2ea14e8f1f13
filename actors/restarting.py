"""For those who start a run again without looking (a Kubernetes job, a cron line): go on where there is a checkpoint, else start."""

from __future__ import annotations

from collections.abc import Callable

import fsspec

from actors.checkpoint import MANIFEST, CheckpointStore
from caig_rl.config.schema import Config
from caig_rl.evaluation.run_folder import RunFolder


def resume_or_start(config: Config, note: Callable[[str], None]) -> bool:
    """True where the run has a checkpoint to resume from.

    A run that ended before its first one cannot be resumed, and its folder would be refused: it is renamed to NAME.unfinished-N, and
    nothing is deleted. `note` is told what was done.
    """
    folder = RunFolder(config.run.root, config.run.name)
    steps = CheckpointStore(folder, config.learner.keep_checkpoints).steps()
    if any(folder.exists(f"checkpoints/{step}/{MANIFEST}") for step in steps):
        note(f"{folder.url} holds a checkpoint: going on from it")
        return True
    filesystem, root = fsspec.core.url_to_fs(config.run.root)
    base = f"{root.rstrip('/')}/{config.run.name}"
    if filesystem.exists(base) and filesystem.ls(base):
        number = 1
        while filesystem.exists(aside := f"{base}.unfinished-{number}"):
            number += 1
        filesystem.mv(base, aside, recursive=True)
        note(f"{folder.url} holds no checkpoint: it was renamed to {aside}, and the run starts anew")
    return False
