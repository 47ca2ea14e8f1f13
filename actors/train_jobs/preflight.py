"""What a training job refuses before it begins: an `out` that it would have to delete, and a job folder that another start is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caig_rl.errors import ConfigError
from caig_rl.runs.driver_lock import held
from caig_rl.runs.folder import RunFolder

_NAMED = 3
"""Files that a refusal names."""


def refuse_out(out: Path, key: str, model_file: str, start: Path) -> None:
    """Refuse an `out` where the best model must not be put, because it takes the place of all that is there.

    Args:
        out: the model's folder, absolute.
        key: its key in the config.
        model_file: what a model of this job's kind has in its folder, and an earlier one that may be replaced.
        start: folder of the model that the job starts from.

    Raises:
        ConfigError: a file, a link, a folder of other files, the current folder or `start`, or a folder around one of these.
    """
    name_another = f"The best model takes the place of all that {key} holds: name a folder that is new or empty, or an earlier model's"
    place = out.resolve()
    if Path.cwd().is_relative_to(place):
        raise ConfigError(f"{key}: {out} is the current folder or holds it. {name_another}")
    if start.resolve().is_relative_to(place):
        raise ConfigError(f"{key}: {out} is where the job starts from, or holds it ({start}). {name_another}")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{key}: {out} is no folder, but a file or a link. {name_another}")
    found = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if found and model_file not in found:
        named = ", ".join(found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        raise ConfigError(f"{key}: {out} holds other files ({named}) and would be replaced. {name_another}")


@contextmanager
def only_start(out: Path) -> Iterator[Path]:
    """Be the one start of the job that makes the model `out`, for the block, which is given the job's folder; the folder is made.

    A second one would write its training files over those that are being read.

    Raises:
        RunTaken: another start of it is alive.
    """
    folder = job_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with held(RunFolder(str(folder.parent), folder.name)):
        yield folder


def job_folder(out: Path) -> Path:
    """Where the job that makes the model `out` keeps its checkpoints, metrics, TensorBoard files and (in `files`) what it learns from."""
    return out.with_name(f"{out.name}-job")
