"""The run folder: where each file of a run lies, and how it is written so that a reader never sees half a file.

    root/NAME/ config.yaml  summary.json  metrics.jsonl  events.jsonl  ledger.parquet  pairs/*.parquet  checkpoints/STEP/  samples/*.png
               report.html  tensorboard/  config-history/N.yaml  driver.json  measured.json

`root` is a local path or an fsspec URI. On local disks a file is written beside its place and renamed; object stores show a file
only when it is whole.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from pydantic import ValidationError
from tensorboardX import SummaryWriter

from caig_rl.errors import UserError
from caig_rl.types import ImageArray

_NEEDED = ("config.yaml", "summary.json")
"""Files without which there is nothing to say of a run."""
DRIVER_FILE = "driver.json"
"""Who writes the folder (`caig_rl.runs.driver_lock`). Alone it makes no run: a driver that was refused later may have left it."""
_SAMPLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Lock(Protocol):
    """What may forbid a write."""

    def check(self) -> None:
        """Raises UserError where this process must not write any more."""

    async def until_lost(self) -> None:
        """Returns never; raises UserError soon after `check` would."""


class RunFolder:
    """One run's files. Making the object touches nothing; `prepare` makes the folder. File names are relative to the folder, with "/"."""

    def __init__(self, root: str, name: str) -> None:
        """`root`: local path or fsspec URI that holds the runs; `name`: the run's folder in it.

        Raises UserError for an address of a kind that cannot be reached from this machine.
        """
        self.name = name
        self._root = root
        try:
            self._fs, base = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as error:
            # fsspec: the package for this kind of store is not installed, or there is no such kind.
            raise UserError(f"{root}/{name} cannot be reached: {error}") from error
        self._base = f"{base.rstrip('/')}/{name}"
        self.lock: Lock | None = None
        """Set while this process is the folder's driver; asked before every write."""
        self._tensorboard: SummaryWriter | None = None
        self._staging: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_local(self) -> bool:
        """True where the run lies on a disk of this machine."""
        return isinstance(self._fs, LocalFileSystem)

    @property
    def url(self) -> str:
        """The folder's address: a path on local disks, else a URI."""
        return self._base if self.is_local else self._fs.unstrip_protocol(self._base)

    @property
    def has_begun(self) -> bool:
        """True where the folder holds anything but its driver's name: a run that has begun, however far it came."""
        self._fs.invalidate_cache(self._base)
        if not self._fs.exists(self._base):
            return False
        return any(str(path).rstrip("/").rsplit("/", 1)[-1] != DRIVER_FILE for path in self._fs.ls(self._base, detail=False))

    def unlocked(self) -> RunFolder:
        """The same folder, whose writes nobody forbids: for the lock's own file."""
        return RunFolder(self._root, self.name)

    def check_lock(self) -> None:
        """Raises UserError where this process was the folder's driver and is it no more."""
        if self.lock is not None:
            self.lock.check()

    def path(self, name: str) -> str:
        """Address of one file: a path on local disks, else a URI."""
        return f"{self.url}/{name}"

    def checkpoint_path(self, step: int) -> str:
        """Address of the folder of checkpoint `step`."""
        return self.path(f"checkpoints/{step}")

    def prepare(self, *, resume: bool = False) -> None:
        """Make the folder.

        Raises:
            UserError: see `refuse`, or it cannot be written.
        """
        self.refuse(resume=resume)
        try:
            self._fs.makedirs(self._base, exist_ok=True)
            self._refuse_unwritable()
        except OSError as error:
            raise UserError(
                f"{self.url} cannot be written ({error.strerror or error}); give another run.root than {self._root!r}"
            ) from error

    def refuse(self, *, resume: bool = False) -> None:
        """Look whether a run may be written here, and leave no trace.

        Raises:
            UserError: it already holds a run and `resume` is not asked for, or holds none and it is.
        """
        occupied = self.has_begun
        if occupied and not resume:
            raise UserError(f"{self.url} already holds a run. Go on with it by --resume, or give another run.name than {self.name!r}.")
        if resume and not occupied:
            raise UserError(f"there is no run to resume in {self.url}. Check run.root and run.name, or start without --resume.")

    def _refuse_unwritable(self) -> None:
        """Raises OSError where a file cannot be written: better now than after the first round."""
        if self.is_local:
            with tempfile.TemporaryFile(dir=self._base):
                pass

    def exists(self, name: str) -> bool:
        """True where the file or folder is there."""
        return bool(self._fs.exists(f"{self._base}/{name}"))

    def write_bytes(self, name: str, data: bytes) -> str:
        """Write a file, whole or not at all, over the old one if any; returns its address."""
        self.check_lock()
        target = f"{self._base}/{name}"
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if self.is_local:
            _replace_local(Path(target), data)
        else:
            self._fs.pipe_file(target, data)
        return self.path(name)

    def read_bytes(self, name: str) -> bytes:
        """The file's content. Raises UserError where it is missing."""
        if not self.exists(name):
            raise UserError(f"{self.path(name)} is missing; is {self.url} the folder of a run?")
        return bytes(self._fs.cat_file(f"{self._base}/{name}"))

    def read_if_there(self, name: str) -> bytes | None:
        """The file's content as it is now, whatever was listed before; None where it is missing."""
        try:
            return bytes(self._fs.cat_file(f"{self._base}/{name}"))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Delete a file that is there."""
        self._fs.rm_file(f"{self._base}/{name}")

    def write_text(self, name: str, text: str) -> str:
        """`write_bytes` of UTF-8 text."""
        return self.write_bytes(name, text.encode())

    def read_text(self, name: str) -> str:
        """`read_bytes` as UTF-8 text. Raises UserError where it is none, as on a disk that lost power."""
        try:
            text = self.read_bytes(name).decode()
        except UnicodeDecodeError as error:
            raise self.damaged(name, ValueError("it is not text")) from error
        if "\0" in text:
            raise self.damaged(name, ValueError("it is not text"))
        return text

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """Add one row to `metrics.jsonl`, and its numbers as TensorBoard scalars at step `round`.

        `row` needs an integer "round"; a number that was not measured is None. Raises ValueError on a number that is not finite.
        """
        step = row["round"]
        if not isinstance(step, int):
            raise ValueError(f"a row of metrics needs an integer round, not {step!r}")
        line = json.dumps(dict(row), allow_nan=False) + "\n"
        # The file is rewritten whole: object stores cannot append, and a killed process leaves no half line.
        old = self.read_bytes("metrics.jsonl") if self.exists("metrics.jsonl") else b""
        self.write_bytes("metrics.jsonl", old + line.encode())
        self._add_scalars(step, row)

    def read_metrics(self) -> list[dict[str, object]]:
        """Every row of `metrics.jsonl`, oldest first; empty before the first. Raises UserError where it is damaged."""
        if not self.exists("metrics.jsonl"):
            return []
        try:
            return [_metrics_row(line) for line in self.read_text("metrics.jsonl").splitlines()]
        except ValueError as error:
            raise self.damaged("metrics.jsonl", error) from error

    def write_pairs(self, round_number: int, table: pa.Table) -> str:
        """Write the preference pairs of a round to `pairs/round-00003.parquet`; returns the address."""
        return self.write_bytes(f"pairs/round-{round_number:05d}.parquet", _parquet(table))

    def write_ledger(self, table: pa.Table) -> str:
        """Write `ledger.parquet`; returns its address."""
        return self.write_bytes("ledger.parquet", _parquet(table))

    def read_table(self, name: str) -> pa.Table:
        """Read a Parquet file of the run. Raises UserError where it is missing or damaged."""
        data = self.read_bytes(name)
        try:
            return pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:  # OSError: what pages and footers that do not unpack are to Arrow
            raise self.damaged(name, error) from error

    def damaged(self, name: str, error: Exception) -> UserError:
        """The message for a file that cannot be read: cut short, edited, or of another program."""
        if isinstance(error, ValidationError):
            first, *_ = error.errors(include_url=False)
            where = ".".join(str(part) for part in first["loc"])
            what = f"{where}: {first['msg']}" if where else str(first["msg"])
        else:
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
        mend = "Put a sound copy back" if name in _NEEDED else "Put a sound copy back, or move the file away and do without it"
        return UserError(f"{self.path(name)} is damaged, or was not written by a run of this version ({what}). {mend}.")

    def save_sample(self, name: str, image: ImageArray) -> str:
        """Save a picture, (height, width, 3 or 4), as `samples/NAME.png`; returns the file name inside `samples/`."""
        if not _SAMPLE_NAME.fullmatch(name):
            raise ValueError(f"a sample's name may hold letters, digits, '.', '_' and '-', not {name!r}")
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        self.write_bytes(f"samples/{name}.png", buffer.getvalue())
        return f"{name}.png"

    def close(self) -> None:
        """Flush and close the TensorBoard log; calling it twice does no harm."""
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._upload_tensorboard()
            self._tensorboard = None
        if self._staging is not None:
            self._staging.cleanup()
            self._staging = None

    def _add_scalars(self, step: int, row: Mapping[str, object]) -> None:
        if self._tensorboard is None:
            self._tensorboard = SummaryWriter(self._tensorboard_directory())
        for key, value in row.items():
            if key != "round" and isinstance(value, (int, float)) and not isinstance(value, bool):
                self._tensorboard.add_scalar(key, value, step)
        self._tensorboard.flush()
        self._upload_tensorboard()

    def _tensorboard_directory(self) -> str:
        if self.is_local:
            return self.path("tensorboard")
        self._staging = tempfile.TemporaryDirectory(prefix="caig-rl-tensorboard-")
        return self._staging.name

    def _upload_tensorboard(self) -> None:
        if self._staging is not None:
            for file in Path(self._staging.name).iterdir():
                self.write_bytes(f"tensorboard/{file.name}", file.read_bytes())


def _metrics_row(line: str) -> dict[str, object]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("round"), int):
        raise ValueError(f"a row without an integer round: {line[:40]}")
    return row


def _replace_local(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
