"""Which column of the user's file is which of ours."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from caig_rl.errors import CatalogError, ConfigError

COLUMNS = ("product_id", "title", "category", "description", "image")
"""The columns of a catalog. Others are allowed and not read."""
REQUIRED = ("title", "image")
"""Columns without which there is no product."""


def map_columns(
    name: str,
    present: Sequence[str],
    chosen: Mapping[str, str],
    columns: Sequence[str] = COLUMNS,
    required: Sequence[str] = REQUIRED,
    key: str = "catalog.columns",
) -> dict[str, str]:
    """Our column name -> the file's, for those of `columns` that the file `name` has.

    `chosen` is what the configuration has at `key`. Raises ConfigError for a key in it that is no column of ours, CatalogError for a
    required or chosen column that the file lacks, or has twice.
    """
    for ours in chosen:
        if ours not in columns:
            raise ConfigError(f"{key} has no key {ours!r}{nearest_name(ours, columns)}; allowed are {', '.join(columns)}")
    mapping = {ours: chosen.get(ours, ours) for ours in columns}
    for ours, theirs in mapping.items():
        if theirs not in present and (ours in required or ours in chosen):
            raise CatalogError(_missing(name, f"{key}.{ours}", theirs, present))
        if list(present).count(theirs) > 1:
            raise CatalogError(f"{name} has {list(present).count(theirs)} columns named {theirs!r}; keep one")
    return {ours: theirs for ours, theirs in mapping.items() if theirs in present}


def ignored_columns(name: str, present: Sequence[str], mapping: Mapping[str, str]) -> str:
    """A line that names the columns of the file `name` that are not read, each with the one of ours it may stand for; empty where all are.

    `mapping` is what `map_columns` gave.
    """
    read = set(mapping.values())
    free = [ours for ours in COLUMNS if ours not in mapping]
    ignored = [f"{theirs!r}{nearest_name(theirs, free)}" for theirs in dict.fromkeys(present) if theirs not in read]
    return f"{name}: columns that are not read: {', '.join(ignored)}; catalog.columns.OURS=THEIRS reads one" if ignored else ""


def _missing(name: str, key: str, theirs: str, present: Sequence[str]) -> str:
    if len(present) == 1 and ";" in present[0]:
        return f"{name} has no column {theirs!r}: its cells seem to be separated by semicolons. Save it with commas"
    there = ", ".join(present) if present else "none"
    near = nearest_name(theirs, present)
    return f"{name} has no column {theirs!r}{near}; there is: {there}. Set {key} to the column to use"


def nearest_name(wanted: str, names: Sequence[str]) -> str:
    """ " (nearest: 'title')" where one of `names` is like `wanted`, for a message; else empty."""
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.lower(), list(by_lower), n=1)
    return f" (nearest: {by_lower[close[0]]!r})" if close else ""
