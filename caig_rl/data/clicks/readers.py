"""One file of a click log, batch by batch: Parquet, CSV or JSONL. No file is ever in memory as a whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.batches import LogBatch, holds_bytes, to_batch
from caig_rl.data.clicks.columns import LogColumns, map_log_columns
from caig_rl.errors import ClickLogError

BATCH_ROWS = 1 << 17
"""Rows held at a time."""
PICTURE_ROWS = 1 << 10
"""Rows held at a time where they hold pictures, at most."""
PICTURE_BYTES = 1 << 24
"""Bytes of pictures held at a time, about; one row's at least."""
_READ_BYTES = 1 << 20
"""Bytes read at a time from a file with pictures; else a whole row group's are."""
Agree = Callable[[str, LogColumns], None]
"""Told a file and its columns; raises ClickLogError where they are not those of the log's other files."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of a log that could be opened."""

    name: str
    """As messages have it."""
    path: str
    """As the filesystem has it."""
    number: int
    """Its place among the log's files, from 0."""
    columns: LogColumns | None
    """None for JSONL, whose rows say what they hold."""
    by_segment: bool = False
    """Its column of segments is read."""


def parquet_names(filesystem: Any, path: str) -> list[str]:
    """The columns of a Parquet file, by its footer."""
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        return list(file.schema_arrow.names)


def csv_names(filesystem: Any, path: str) -> list[str]:
    """The columns of a CSV file, by its header."""
    with filesystem.open(path, "rb") as file:
        header = file.readline().decode("utf-8-sig")
    if not header.strip():
        raise pa.ArrowInvalid("it has no header" if header else "it is empty")
    return next(csv.reader([header]))


def read_parquet(filesystem: Any, file: LogFile, config: ClicksConfig, agree: Agree) -> Iterator[LogBatch]:
    """A Parquet file's batches."""
    assert file.columns is not None
    row = 1
    for batch in _record_batches(filesystem, file.path, file.columns):
        if batch.num_rows:
            yield to_batch(file.name, file.number, row, file.columns, batch, [])
        row += batch.num_rows


def _record_batches(filesystem: Any, path: str, columns: LogColumns) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=False, buffer_size=_READ_BYTES) as file:
        image = columns.sources.get("image", ())
        if len(image) == 1 and holds_bytes(file.schema_arrow.field(image[0]).type):
            # Reads and decodes page by page; a dataset would take a row group at a time, with all its pictures.
            yield from file.iter_batches(_picture_rows(file.metadata, image[0]), columns=columns.wanted)
            return
    dataset = pads.dataset(path, format="parquet", filesystem=filesystem)
    # A few batches ahead keep the disk busy; the defaults would hold sixteen batches of four files.
    yield from dataset.to_batches(columns=columns.wanted, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1)


def _picture_rows(metadata: pq.FileMetaData, image: str) -> int:
    """Rows that together hold `PICTURE_BYTES`, by the row group of the largest pictures."""
    largest = 1.0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        parts = (group.column(part) for part in range(group.num_columns))
        held = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] == image)
        largest = max(largest, held / max(group.num_rows, 1))
    return max(1, min(PICTURE_ROWS, int(PICTURE_BYTES / largest)))


def read_csv(filesystem: Any, file: LogFile, config: ClicksConfig, agree: Agree) -> Iterator[LogBatch]:
    """A CSV file's batches."""
    assert file.columns is not None
    wanted = file.columns.wanted
    unreadable: list[str] = []

    def skip(row: pacsv.InvalidRow) -> str:
        text = f"{row.actual_columns} cells, where the header has {row.expected_columns}: {row.text[:120]!r}"
        unreadable.append(f"{file.name}: {text}")
        return "skip"

    with filesystem.open(file.path, "rb") as stream:
        # Everything as text: a bad number then spoils its row, not the file, and the id 007 stays 007.
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(block_size=1 << 23),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pacsv.ConvertOptions(
                include_columns=wanted,
                column_types={name: pa.string() for name in wanted},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        row = 1
        for batch in reader:
            yield to_batch(file.name, file.number, row, file.columns, batch, _taken(unreadable))
            row += batch.num_rows
        if unreadable:
            # A block without a good row gives no batch, and the file may end with it.
            yield to_batch(file.name, file.number, row, file.columns, reader.schema.empty_table(), _taken(unreadable))


def _taken(messages: list[str]) -> list[str]:
    """Empties `messages`, also while Arrow's threads add to them."""
    taken = list(messages)
    del messages[: len(taken)]
    return taken


def read_jsonl(filesystem: Any, file: LogFile, config: ClicksConfig, agree: Agree) -> Iterator[LogBatch]:
    """Line by line with the standard reader: Arrow's gives up the file at the first bad line, and guesses types from the first block."""
    records = _Records(file, config, agree)
    number = 0
    with filesystem.open(file.path, "rb") as stream:
        for line in stream:
            number += 1
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig"))
                if b"\\u" in line:
                    # JSON can spell half a character ("\ud83d"), which no text holds: encoding it raises.
                    json.dumps(record, ensure_ascii=False).encode()
            except (ValueError, RecursionError) as error:
                records.unreadable.append(f"{file.name} line {number}: no JSON ({error})")
                continue
            if not isinstance(record, dict):
                records.unreadable.append(f"{file.name} line {number}: a JSON {type(record).__name__}, where an object was expected")
                continue
            records.rows.append(record)
            if len(records.rows) == BATCH_ROWS:
                yield records.batch()
    if records.rows or records.unreadable:
        yield records.batch()


class _Records:
    """JSON records on their way to a batch. The columns of a file are the keys of its first batch: one record alone may leave some out."""

    def __init__(self, file: LogFile, config: ClicksConfig, agree: Agree) -> None:
        self.rows: list[dict[str, Any]] = []
        self.unreadable: list[str] = []
        self._file, self._config, self._agree = file, config, agree
        self._row = 1
        self._keys: dict[str, None] = {}
        self._columns: LogColumns | None = None

    def batch(self) -> LogBatch:
        """What has gathered, and begin anew."""
        columns = self._mapped() if self.rows else LogColumns({name: (name,) for name in ("product", "creative", "clicks")})
        arrays = {name: pa.array([_as_text(record.get(name)) for record in self.rows], pa.string()) for name in columns.wanted}
        table = pa.RecordBatch.from_pydict(arrays)
        made = to_batch(self._file.name, self._file.number, self._row, columns, table, self.unreadable)
        self._row += len(self.rows)
        self.rows, self.unreadable = [], []
        return made

    def _mapped(self) -> LogColumns:
        self._keys |= {key: None for row in self.rows for key in row}
        columns = map_log_columns(self._file.name, list(self._keys), self._config, self._file.by_segment)
        if self._columns is None:
            self._columns = columns
            self._agree(self._file.name, columns)
        for name in columns.sources:
            if columns.sources[name] != self._columns.sources.get(name):
                raise ClickLogError(
                    f"{self._file.name} has {name!r} in rows {self._row} to {self._row + len(self.rows) - 1}, and not in rows before, "
                    f"which were read without it. Name it in the first record, by null where it has none, or leave it out: "
                    f"'clicks.columns={{{name}: \"\"}}'"
                )
        return self._columns


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, bool) else str(value)
