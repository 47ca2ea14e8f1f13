"""Sums a log to one row an arm while it streams by: memory grows with the number of arms, not of rows, and holds no picture."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.data.clicks.columns import DETAILS, PICTURE, SEGMENT

MERGE_ROWS = 1 << 20
"""Partial sums are merged when they reach this many rows."""
KEYS = ("test", "product", "creative", "arm")
SUMS = ("impressions", "clicks", "weight", "weighted_clicks", "squared_weight")
"""Sums an arm: impressions n, clicks x, and with a logged propensity e: sum of n/e, x/e and n/e^2 (without: the same at e = 1)."""
LIMITS = ("propensity", "share")
"""Columns whose lowest and highest value is kept, to see whether they are the same in every row of the arm."""


class ArmTotals:
    """Add batches of accepted rows; read one table at the end."""

    def __init__(self, rows_are_arms: bool = False, by_segment: bool = False) -> None:
        """`by_segment`: an arm has a row for each segment that it was shown to, the rows without one together as null."""
        self._rows_are_arms, self._keys = rows_are_arms, (*KEYS, SEGMENT) if by_segment else KEYS
        self._partials: list[pa.Table] = []
        self._pending_rows = 0
        self._num_rows = 0

    def add(self, rows: pa.Table) -> None:
        """Add accepted rows, under our column names."""
        if rows.num_rows == 0:
            return
        partial = _grouped(self._with_keys_and_weights(rows), self._keys)
        self._partials.append(partial)
        self._pending_rows += partial.num_rows
        self._num_rows += rows.num_rows
        if self._pending_rows >= MERGE_ROWS and len(self._partials) > 1:
            self._merge()

    def table(self) -> pa.Table:
        """One row an arm (and segment), by test, product, creative, arm: the keys, `SUMS`, lowest and highest of `LIMITS`, and details."""
        if not self._partials:
            return pa.table({name: pa.array([], pa.string()) for name in self._keys} | {name: pa.array([], pa.float64()) for name in SUMS})
        self._merge()
        return self._partials[0].sort_by([(name, "ascending") for name in self._keys])

    def _merge(self) -> None:
        merged = _grouped(pa.concat_tables(self._partials, promote_options="permissive"), self._keys)
        self._partials = [merged]
        # What stays after a merge is not pending: else a log of many arms would be merged anew with every batch.
        self._pending_rows = 0

    def _with_keys_and_weights(self, rows: pa.Table) -> pa.Table:
        columns = {name: rows[name] for name in rows.column_names if name not in ("propensity", "share")}
        columns.setdefault("test", columns["product"])
        if self._rows_are_arms:
            columns["arm"] = pa.array([f"{self._num_rows + index:012d}" for index in range(rows.num_rows)])
        columns.setdefault("arm", columns["creative"])
        weight = pc.divide(1.0, rows["propensity"]) if "propensity" in rows.column_names else pa.scalar(1.0)
        columns["weight"] = pc.multiply(columns["impressions"], weight)
        columns["weighted_clicks"] = pc.multiply(columns["clicks"], weight)
        columns["squared_weight"] = pc.multiply(columns["weight"], weight)
        for name in LIMITS:
            if name in rows.column_names:
                columns[f"{name}_min"] = columns[f"{name}_max"] = rows[name]
        return pa.table(columns)


def _grouped(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    functions = {name: "sum" for name in SUMS}
    functions |= {f"{name}_{end}": end for name in LIMITS for end in ("min", "max") if f"{name}_{end}" in rows.column_names}
    functions |= {name: "first" for name in (*DETAILS, PICTURE) if name in rows.column_names}
    # One thread: "first" then means first in the log, and sums of floats do not depend on timing.
    grouped = rows.group_by(list(keys), use_threads=False).aggregate(list(functions.items()))
    named: pa.Table = grouped.rename_columns([*keys, *functions])
    return named
