"""A training job's own files: written once beside its checkpoints, where every node sees them, used again when the job is gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from caig_rl import __version__
from caig_rl.data.clicks.files import write_text
from caig_rl.data.clicks.splits import TRAIN, VALIDATION

MANIFEST = "files.json"


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """`train.parquet` and `validation.parquet`."""

    folder: Path
    rows: dict[str, int]
    """Split -> rows."""
    content: dict[str, str]
    """Split -> SHA-256 of the file."""
    is_reused: bool
    """True where an earlier start of the job wrote them."""


def training_files(folder: Path, source: str, write: Callable[[Path], Mapping[str, int]]) -> TrainingFiles:
    """The files in `folder`, which `write` (folder -> rows a split) makes unless they are there, whole, from the same `source`
    (`source_digest`)."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        kept = json.loads(manifest.read_text(encoding="utf-8"))
        if kept["source"] == source:
            return TrainingFiles(folder, kept["rows"], kept["content"], True)
        manifest.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    written = write(folder)
    rows = {split: written.get(split, 0) for split in (TRAIN, VALIDATION)}
    content = {split: _file_digest(folder / f"{split}.parquet") for split in rows}
    # Last: files without it are not whole.
    write_text(str(folder), MANIFEST, json.dumps({"source": source, "rows": rows, "content": content}, indent=1) + "\n")
    return TrainingFiles(folder, rows, content, False)


def source_digest(settings: object, files: Iterable[Path]) -> str:
    """SHA-256 of what training files are made from: `settings` by their `repr`, and name, size and time of change of each of `files`."""
    digest = hashlib.sha256(f"{__version__}\n{settings!r}\n".encode())
    for path in files:
        digest.update(f"{path} {_stamp(path)}\n".encode())
    return digest.hexdigest()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        # Missing, or no file at all: its reader says so, with the reason.
        return "none"
    return f"{status.st_size} {status.st_mtime_ns}"


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
