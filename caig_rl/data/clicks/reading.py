"""Reads a click log batch by batch, from Parquet, CSV or JSONL, under our column names. The whole log is never in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pyarrow as pa

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.batches import LogBatch
from caig_rl.data.clicks.columns import COLUMNS, JOIN, SEGMENT, LogColumns, map_log_columns
from caig_rl.data.clicks.readers import Agree, LogFile, csv_names, parquet_names, read_csv, read_jsonl, read_parquet
from caig_rl.errors import ClickLogError

KINDS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_READERS: dict[str, Callable[[Any, LogFile, ClicksConfig, Agree], Iterator[LogBatch]]] = {
    "parquet": read_parquet,
    "csv": read_csv,
    "jsonl": read_jsonl,
}
_BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What a file that is not of its kind raises."""


def read_log(config: ClicksConfig, by_segment: bool = False) -> ClickLog:
    """Open the log at `config.path`, whose batches come by iterating; `by_segment`: with its column of segments.

    Raises:
        ClickLogError: nothing is there, files of unknown or mixed kinds, a column is missing or in some files only, or more files than
            `max_faulty_share` cannot be opened. While iterating: a file that breaks midway.
        ConfigError: a wrong key in `config.columns`.
    """
    return ClickLog(config, by_segment)


class ClickLog:
    """A log whose files have been opened: footers of Parquet files and headers of CSV files are read, rows are not."""

    def __init__(self, config: ClicksConfig, by_segment: bool = False) -> None:
        """`by_segment`: the column of segments is read, and needed."""
        assert config.path is not None
        self._config, self._by_segment = config, by_segment
        self._filesystem, root = fsspec.core.url_to_fs(config.path)
        paths = _files(self._filesystem, root, config.path)
        self._files: list[LogFile] = []
        self._first: tuple[str, LogColumns] | None = None
        self._unused: dict[str, None] = {}
        self.broken: list[str] = []
        """Files that cannot be opened, each as a message; they are not read."""
        for path in paths:
            name = path.removeprefix(root).lstrip("/") or _name(path)
            try:
                self._files.append(self._opened(name, path))
            except _BROKEN as error:
                self.broken.append(_unreadable(name, path, error))
        self._check_broken(len(paths))

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns of ours that the log holds and nothing uses (`columns.UNUSED`). Of JSONL: in the files read so far."""
        return tuple(self._unused)

    def source(self, name: str) -> str:
        """What the log's first file calls our column `name`. KeyError where it has none."""
        assert self._first is not None
        return JOIN.join(self._first[1].sources[name])

    def __iter__(self) -> Iterator[LogBatch]:
        """The rows, file by file in the order of their names."""
        for file in self._files:
            try:
                yield from _READERS[_kind(file.path)](self._filesystem, file, self._config, self._agree)
            except _BROKEN as error:
                raise ClickLogError(_unreadable(file.name, file.path, error)) from error

    def _opened(self, name: str, path: str) -> LogFile:
        kind = _kind(path)
        if kind == "jsonl":
            self._filesystem.open(path, "rb").close()
            return LogFile(name, path, len(self._files), None, self._by_segment)
        names = (parquet_names if kind == "parquet" else csv_names)(self._filesystem, path)
        columns = map_log_columns(name, names, self._config, self._by_segment)
        self._agree(name, columns)
        return LogFile(name, path, len(self._files), columns, self._by_segment)

    def _agree(self, file: str, columns: LogColumns) -> None:
        """A column that begins in some file would be read as something else before: a propensity as 1, a test as the product."""
        self._unused |= dict.fromkeys(columns.unused)
        self._first = self._first or (file, columns)
        first, others = self._first
        for name in (*COLUMNS, SEGMENT):
            if (name in columns) != (name in others):
                has, lacks = (file, first) if name in columns else (first, file)
                raise ClickLogError(
                    f"{has} has {name!r}, and {lacks} has not; the files of a log must hold the same columns. Add it to {lacks}, or leave "
                    f"it out: 'clicks.columns={{{name}: \"\"}}'"
                )

    def _check_broken(self, count: int) -> None:
        if self.broken and not self._files:
            raise ClickLogError(self.broken[0])
        if len(self.broken) > self._config.max_faulty_share * count:
            shown = "\n  ".join(self.broken[:3])
            raise ClickLogError(
                f"{len(self.broken)} of {count} files ({len(self.broken) / count:.1%}) cannot be read, more than the "
                f"{self._config.max_faulty_share:.1%} that clicks.max_faulty_share allows:\n  {shown}"
            )


def _files(filesystem: Any, root: str, shown: str) -> list[str]:
    if not filesystem.exists(root):
        raise ClickLogError(f"there is no click log at {shown}; set clicks.path to a Parquet, CSV or JSONL file, or a folder of them")
    if not filesystem.isdir(root):
        paths = [root]
    else:
        paths = sorted(path for path in filesystem.find(root) if not _name(path).startswith((".", "_")))
    kinds = {_kind(path) for path in paths}
    if kinds - set(_READERS) or len(kinds) != 1:
        found = ", ".join(sorted(_name(path) for path in paths)[:5]) or "no files"
        raise ClickLogError(f"{shown} is no click log: expected files of one kind, ending in {', '.join(KINDS)}; found {found}")
    return paths


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _kind(path: str) -> str:
    return next((kind for suffix, kind in KINDS.items() if path.lower().endswith(suffix)), "")


def _unreadable(name: str, path: str, error: Exception) -> str:
    return f"{name} cannot be read as {_kind(path)}: {error}"
