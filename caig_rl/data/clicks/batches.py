"""Some rows of a click log under our column names, whatever types the file holds them in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.data.clicks.columns import JOIN, KEYS, NUMBERS, PICTURE, LogColumns
from caig_rl.errors import ClickLogError

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_FILE_BITS = 40
"""A picture's place is its file's number, shifted by this, and its row: no file has as many rows."""


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
    pictures: pa.Array | None = None
    """Bytes of each row's picture, null where it has none; None for a file without. `columns` says by `PICTURE` where they lie."""

    @property
    def num_rows(self) -> int:
        """Readable rows."""
        return len(self.columns["product"])


def to_batch(file: str, number: int, row: int, columns: LogColumns, batch: pa.RecordBatch | pa.Table, unreadable: list[str]) -> LogBatch:
    """`batch`, under the file's names, begins at `row` (from 1) of `file`, which is the log's file `number` (from 0)."""
    ours: dict[str, pa.Array] = {}
    given: dict[str, pa.Array] = {}
    pictures: pa.Array | None = None
    for name, sources in columns.sources.items():
        values = [batch.column(source) for source in sources]
        if name in NUMBERS:
            ours[name], given[name] = _numbers(values[0])
        elif name == "image" and len(values) == 1:
            ours[name], pictures = _pictures(file, sources[0], values[0])
        else:
            texts = [_text(value) for value in values]
            ours[name] = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, JOIN, null_handling="replace")
            if name in KEYS:
                ours[name] = pc.if_else(pc.equal(pc.utf8_trim_whitespace(ours[name]), ""), None, ours[name])
    if pictures is not None:
        places = (number << _FILE_BITS) + row - 1 + np.arange(batch.num_rows)
        ours[PICTURE] = pc.if_else(pictures.is_valid(), pa.array(places, pa.int64()), None)
    if "impressions" not in ours:
        ours["impressions"] = pa.array([1.0] * batch.num_rows, pa.float64())
        given["impressions"] = pa.array([True] * batch.num_rows, pa.bool_())
    return LogBatch(file, row, ours, given, unreadable, pictures)


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds pictures themselves, not their paths."""
    if pa.types.is_dictionary(kind):
        return holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return any(
        test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    )


def _pictures(file: str, source: str, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """(paths, null where there is none; bytes likewise, None where the column cannot hold any). A struct is Hugging Face's image."""
    kind = values.type
    if pa.types.is_struct(kind) and {field.name for field in kind} & {"bytes", "path"}:
        content, path = (
            pc.struct_field(values, name) if kind.get_field_index(name) >= 0 else pa.nulls(len(values)) for name in ("bytes", "path")
        )
        content = content.cast(pa.binary())
        return pc.if_else(content.is_valid(), None, path.cast(pa.string())), content
    if holds_bytes(kind):
        decoded = values.dictionary_decode() if pa.types.is_dictionary(kind) else values
        return pa.nulls(len(values), pa.string()), decoded.cast(pa.binary())
    try:
        return _text(values), None
    except pa.ArrowException as error:
        raise ClickLogError(
            f"{file}: column {source!r} holds {kind}, where pictures are paths, bytes, or structs of bytes and path; "
            "set clicks.columns.image to the column to use, or to '' for a log without pictures"
        ) from error


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
