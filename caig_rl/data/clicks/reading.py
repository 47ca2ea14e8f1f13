"""Reads a click log batch by batch, from Parquet, CSV or JSONL, under our column names. The whole log is never in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as pads

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.columns import JOIN, KEYS, NUMBERS, LogColumns, map_log_columns
from caig_rl.errors import ClickLogError

BATCH_ROWS = 1 << 17
"""Rows held at a time."""
KINDS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Some rows of a log. Keys are text (null: missing), numbers float64 (null: missing or none), all under our names."""

    file: str
    first_row: int
    """Number of the first row in its file, from 1; a header and rows that could not be read are not counted."""
    columns: dict[str, pa.Array]
    given: dict[str, pa.Array]
    """For each column of numbers, whether the file held anything there: tells a missing value from one that is no number."""
    unreadable: list[str] = field(default_factory=list)
    """Rows met in this batch that are no rows at all, each as a message."""

    @property
    def num_rows(self) -> int:
        """Readable rows."""
        return len(self.columns["product"])


def read_log(config: ClicksConfig) -> Iterator[LogBatch]:
    """The log at `config.path`, file by file in the order of their names.

    Raises:
        ClickLogError: nothing is there, files of unknown or mixed kinds, a column is missing, or a file is broken.
        ConfigError: a wrong key in `config.columns`.
    """
    assert config.path is not None
    filesystem, root = fsspec.core.url_to_fs(config.path)
    paths = _files(filesystem, root, config.path)
    for path in paths:
        try:
            yield from _READERS[_kind(path)](filesystem, path, config)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ClickLogError(f"{_name(path)} cannot be read as {_kind(path)}: {error}") from error


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


def _read_parquet(filesystem: Any, path: str, config: ClicksConfig) -> Iterator[LogBatch]:
    dataset = pads.dataset(path, format="parquet", filesystem=filesystem)
    columns = map_log_columns(_name(path), dataset.schema.names, config)
    # A few batches ahead keep the disk busy; the defaults would hold sixteen batches of four files.
    batches = dataset.to_batches(columns=columns.wanted, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1)
    row = 1
    for batch in batches:
        if batch.num_rows:
            yield _to_batch(_name(path), row, columns, batch, [])
        row += batch.num_rows


def _read_csv(filesystem: Any, path: str, config: ClicksConfig) -> Iterator[LogBatch]:
    with filesystem.open(path, "rb") as file:
        first = file.readline().decode("utf-8-sig")
    columns = map_log_columns(_name(path), next(csv.reader([first]), []), config)
    unreadable: list[str] = []

    def skip(row: pacsv.InvalidRow) -> str:
        text = f"{row.actual_columns} cells, where the header has {row.expected_columns}: {row.text[:120]!r}"
        unreadable.append(f"{_name(path)}: {text}")
        return "skip"

    with filesystem.open(path, "rb") as file:
        # Everything as text: a bad number then spoils its row, not the file, and the id 007 stays 007.
        reader = pacsv.open_csv(
            file,
            pacsv.ReadOptions(block_size=1 << 23),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pacsv.ConvertOptions(
                include_columns=columns.wanted,
                column_types={name: pa.string() for name in columns.wanted},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        row = 1
        for batch in reader:
            yield _to_batch(_name(path), row, columns, batch, _taken(unreadable))
            row += batch.num_rows


def _taken(messages: list[str]) -> list[str]:
    taken = list(messages)
    messages.clear()
    return taken


def _read_jsonl(filesystem: Any, path: str, config: ClicksConfig) -> Iterator[LogBatch]:
    """Line by line with the standard reader: Arrow's gives up the file at the first bad line, and guesses types from the first block."""
    columns: LogColumns | None = None
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    number, row = 0, 1
    with filesystem.open(path, "rb") as file:
        for line in file:
            number += 1
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                unreadable.append(f"{_name(path)} line {number}: no JSON ({error})")
                continue
            if not isinstance(record, dict):
                unreadable.append(f"{_name(path)} line {number}: a JSON {type(record).__name__}, where an object was expected")
                continue
            rows.append(record)
            if len(rows) == BATCH_ROWS:
                columns = columns or _map_records(_name(path), rows, config)
                yield _from_records(_name(path), row, columns, rows, _taken(unreadable))
                row += len(rows)
                rows = []
    if rows or unreadable:
        columns = columns or _map_records(_name(path), rows, config)
        yield _from_records(_name(path), row, columns, rows, unreadable)


def _map_records(file: str, rows: list[dict[str, Any]], config: ClicksConfig) -> LogColumns:
    """The columns of a JSONL file are the keys of its first batch: one record alone may leave some out."""
    if not rows:
        return LogColumns({name: (name,) for name in ("product", "creative", "clicks")})
    return map_log_columns(file, list(dict.fromkeys(key for row in rows for key in row)), config)


def _from_records(file: str, row: int, columns: LogColumns, rows: list[dict[str, Any]], unreadable: list[str]) -> LogBatch:
    arrays = {name: pa.array([_as_text(record.get(name)) for record in rows], pa.string()) for name in columns.wanted}
    return _to_batch(file, row, columns, pa.RecordBatch.from_pydict(arrays), unreadable)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, bool) else str(value)


def _to_batch(file: str, row: int, columns: LogColumns, batch: pa.RecordBatch, unreadable: list[str]) -> LogBatch:
    ours: dict[str, pa.Array] = {}
    given: dict[str, pa.Array] = {}
    for name, sources in columns.sources.items():
        values = [batch.column(source) for source in sources]
        if name in NUMBERS:
            ours[name], given[name] = _numbers(values[0])
        elif name == "image" and pa.types.is_binary(values[0].type):
            ours[name] = values[0]
        else:
            texts = [_text(value) for value in values]
            ours[name] = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, JOIN, null_handling="replace")
            if name in KEYS:
                ours[name] = pc.if_else(pc.equal(pc.utf8_trim_whitespace(ours[name]), ""), None, ours[name])
    if "impressions" not in ours:
        ours["impressions"] = pa.array([1.0] * batch.num_rows, pa.float64())
        given["impressions"] = pa.array([True] * batch.num_rows, pa.bool_())
    return LogBatch(file, row, ours, given, unreadable)


def _text(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values if pa.types.is_string(values.type) else values.cast(pa.string())


def _numbers(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(float64, null where there is no number; whether the file held anything)."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return values.cast(pa.float64(), safe=False), values.is_valid()
    text = pc.utf8_trim_whitespace(_text(values))
    lowered = pc.utf8_lower(text)
    text = pc.if_else(pc.equal(lowered, "true"), "1", pc.if_else(pc.equal(lowered, "false"), "0", text))
    is_number = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
    return pc.if_else(is_number, text, None).cast(pa.float64()), pc.fill_null(pc.not_equal(text, ""), False)


_READERS = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl}
