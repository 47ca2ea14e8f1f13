"""Reads the rows of a catalog file: CSV, JSONL, Parquet, or a folder of images. A bad row is handed on as such, never dropped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caig_rl.errors import CatalogError
from caig_rl.imaging.loading import SUFFIXES

FILE_KINDS = (".csv", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of catalog files."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, as text."""

    number: int
    """As the user counts: the line in a spreadsheet, its header being 1; the line of a JSONL file; 1 for a Parquet file's first."""
    where: str
    """"products.csv row 12"."""
    values: dict[str, str] = field(default_factory=dict)
    """The file's column name -> text; empty text for a missing value."""
    nested: tuple[str, ...] = ()
    """Columns that hold a list, an object or bytes here, where text was expected; they have no value."""
    fault: str = ""
    """Why the row could not be read; empty when it could."""


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Column names and rows of a catalog file or folder. Blank lines are no rows.

    Raises CatalogError when the file is missing, of an unknown kind, not UTF-8, or not what its name says.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise CatalogError(f"there is no catalog at {path}")
    kind = path.suffix.lower()
    if kind == ".csv":
        return _read_csv(path)
    if kind in (".jsonl", ".ndjson"):
        return _read_jsonl(path)
    if kind == ".parquet":
        return _read_parquet(path)
    raise CatalogError(f"{path} is no catalog: expected a folder of images, or a file ending in {', '.join(FILE_KINDS)}")


def _read_csv(path: Path) -> tuple[list[str], list[Row]]:
    """The standard reader, not pyarrow's: that one gives up the whole file at the first bad row, and reads the id 007 as 7."""
    reader = csv.reader(io.StringIO(_decode(path), newline=""), strict=True)
    header: list[str] = []
    rows: list[Row] = []
    number = 0
    for cells in _until_end(reader):
        number += 1
        if cells == []:
            continue
        where = f"{path.name} row {number}"
        if isinstance(cells, csv.Error):
            if not header:
                raise CatalogError(f"{path.name}: the header cannot be read ({cells})")
            rows.append(Row(number, where, fault=str(cells)))
        elif not header:
            header = [name.strip() for name in cells]
        elif len(cells) != len(header):
            rows.append(Row(number, where, fault=f"{len(cells)} cells, where the header has {len(header)}; a comma may lack its quotes"))
        else:
            rows.append(Row(number, where, dict(zip(header, cells, strict=True))))
    return header, rows


def _until_end(reader: Iterator[list[str]]) -> Iterator[list[str] | csv.Error]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _read_jsonl(path: Path) -> tuple[list[str], list[Row]]:
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name} row {number}"
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            rows.append(Row(number, where, fault=f"no JSON: {error}"))
            continue
        if isinstance(record, dict):
            columns.update(dict.fromkeys(record))
            rows.append(_as_text(number, where, record))
        else:
            rows.append(Row(number, where, fault=f"a JSON {type(record).__name__}, where an object was expected"))
    return list(columns), rows


def _read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise CatalogError(f"{path.name} cannot be read as Parquet: {error}") from error
    rows = [_as_text(number, f"{path.name} row {number}", record) for number, record in enumerate(table.to_pylist(), start=1)]
    return list(table.column_names), rows


def _as_text(number: int, where: str, record: dict[str, object]) -> Row:
    nested = tuple(name for name, value in record.items() if isinstance(value, (dict, list, bytes)))
    values = {name: "" if value is None else str(value) for name, value in record.items() if name not in nested}
    return Row(number, where, values, nested)


def _read_folder(folder: Path) -> tuple[list[str], list[Row]]:
    """Every file but the hidden ones. The title is the file's name, the category the first folder's."""
    rows: list[Row] = []
    files = sorted(path for path in folder.rglob("*") if not path.is_dir() and not _is_hidden(path.relative_to(folder).parts))
    for number, path in enumerate(files, start=1):
        relative = path.relative_to(folder)
        values = {
            "product_id": relative.as_posix(),
            "title": " ".join(path.stem.replace("_", " ").replace("-", " ").split()),
            "category": relative.parts[0] if len(relative.parts) > 1 else "",
            "image": relative.as_posix(),
        }
        fault = "" if path.suffix.lower() in SUFFIXES else f"no image by its name; expected {', '.join(SUFFIXES)}"
        rows.append(Row(number, f"{folder.name}/{relative.as_posix()}", values, fault=fault))
    return ["product_id", "title", "category", "image"], rows


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        around = content[max(0, error.start - 12) : error.start + 12].decode("latin-1")
        raise CatalogError(
            f"{path.name} is not UTF-8: byte 0x{content[error.start]:02x} at position {error.start}, line {row}, near {around!r}. "
            f"Save it as UTF-8 (in Excel: Save as, CSV UTF-8) and run again"
        ) from error
