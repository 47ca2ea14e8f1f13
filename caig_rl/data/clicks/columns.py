"""Which column of the user's click log is which of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.columns import nearest_name
from caig_rl.errors import ClickLogError, ConfigError

KEYS = ("product", "test", "creative", "arm")
"""Columns that name things; numbers in them are read as text."""
NUMBERS = ("impressions", "clicks", "propensity", "share")
"""Columns of numbers. `propensity`: probability with which this row's arm was chosen; `share`: the arm's declared share of its test."""
DETAILS = ("title", "category", "description", "image")
"""What is said of product and creative, kept with the first value found: text, and the creative's picture (a path, or bytes)."""
COLUMNS = (*KEYS, *NUMBERS, *DETAILS)
"""The columns of a click log. Others are allowed and not read."""
SEGMENT = "segment"
"""The segment of shoppers that a row's impressions were shown to; read only where segments are told apart."""
UNUSED = ("day", "position", SEGMENT)
"""Columns that are known too, and that nothing corrects for: a log that has them is told so."""
PICTURE = "picture"
"""Beside them, in memory only: the place in the log of a picture that it holds as bytes."""
ALIASES = {"product": "product_id", "test": "test_id", "creative": "creative_id"}
"""Names that are understood without a mapping, beside our own."""
JOIN = " + "
"""Between the columns that are joined into one."""


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The columns of one log."""

    sources: Mapping[str, tuple[str, ...]]
    """Our column -> the file's, several where they are joined; only those the file has."""
    unused: tuple[str, ...] = ()
    """Those of `UNUSED` that the file has, and that are not read."""

    @property
    def wanted(self) -> list[str]:
        """Every column of the file that is read, each once."""
        return list(dict.fromkeys(name for names in self.sources.values() for name in names))

    def __contains__(self, name: str) -> bool:
        return name in self.sources


def map_log_columns(name: str, present: Sequence[str], config: ClicksConfig, by_segment: bool = False) -> LogColumns:
    """Find our columns in the log `name`, whose columns are `present`; `by_segment`: its column of segments is read, and needed.

    Raises:
        ConfigError: a key of `clicks.columns` that is no column of ours.
        ClickLogError: a required or chosen column that the log lacks, or has twice.
    """
    known = (*COLUMNS, *UNUSED)
    for ours in config.columns:
        if ours not in known:
            raise ConfigError(f"clicks.columns has no key {ours!r}{nearest_name(ours, known)}; allowed are {', '.join(known)}")
    required = {"product", "creative", "clicks"} | ({"impressions"} if config.form == "aggregates" else set())
    required |= {SEGMENT} if by_segment else set()
    sources = {}
    for ours in known:
        if ours == "impressions" and config.form == "events" and ours not in config.columns:
            continue
        if config.columns.get(ours) == "":
            if ours in required:
                raise ClickLogError(f"clicks.columns.{ours} is empty, and no log can do without; name its column")
            continue
        theirs = _names(ours, present, config.columns)
        missing = [column for column in theirs if column not in present]
        if not missing:
            sources[ours] = theirs
        elif ours in required or ours in config.columns:
            raise ClickLogError(_missing(name, ours, missing[0], present))
    unused = tuple(ours for ours in UNUSED if ours in sources and ours not in required)
    mapped = LogColumns({ours: theirs for ours, theirs in sources.items() if ours not in unused}, unused)
    for column in mapped.wanted:
        if list(present).count(column) > 1:
            raise ClickLogError(f"{name} has {list(present).count(column)} columns named {column!r}; keep one")
    return mapped


def _names(ours: str, present: Sequence[str], chosen: Mapping[str, str]) -> tuple[str, ...]:
    if ours in chosen:
        return (chosen[ours],) if chosen[ours] in present else tuple(part.strip() for part in chosen[ours].split(JOIN))
    alias = ALIASES.get(ours, ours)
    return (alias,) if alias in present and ours not in present else (ours,)


def _missing(name: str, ours: str, theirs: str, present: Sequence[str]) -> str:
    there = ", ".join(present) if present else "none"
    advice = f"set clicks.columns.{ours} to the column to use"
    if ours == "impressions":
        advice += ", or clicks.form=events where each row is one impression"
    return f"{name} has no column {theirs!r}{nearest_name(theirs, present)}; there is: {there}. For {ours!r} {advice}"
