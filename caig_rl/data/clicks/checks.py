"""Checks every row of a click log; a faulty one is counted by its reason, with the first examples, and never used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from caig_rl.data.clicks.batches import LogBatch
from caig_rl.data.clicks.columns import PICTURE
from caig_rl.errors import ClickLogError

REASONS = {
    "row_unreadable": "is no row of this file's kind",
    "product_missing": "names no product",
    "creative_missing": "names no creative",
    "test_missing": "names no test",
    "arm_missing": "names no arm",
    "impressions_missing": "has no impressions",
    "impressions_no_number": "has impressions that are no finite number",
    "impressions_negative": "has impressions below 0",
    "impressions_not_whole": "has impressions that are no whole number",
    "clicks_missing": "has no clicks",
    "clicks_no_number": "has clicks that are no finite number",
    "clicks_negative": "has clicks below 0",
    "clicks_not_whole": "has clicks that are no whole number",
    "clicks_above_impressions": "has more clicks than impressions",
    "propensity_missing": "has no propensity",
    "propensity_out_of_range": "has a propensity outside (0, 1]",
    "share_missing": "has no share",
    "share_out_of_range": "has a share outside (0, 1]",
}
"""Reason code -> what it says of a row. A row with several faults counts under the first."""
EXAMPLES = 3
"""Faulty rows quoted for each reason."""
BoolArray = npt.NDArray[np.bool_]


class FaultCounter:
    """Rows read and faulty rows by reason."""

    def __init__(self) -> None:
        self.num_rows = 0
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)

    @property
    def num_faulty(self) -> int:
        """Rows that are not used."""
        return self.counts.total()

    def accepted(self, batch: LogBatch) -> pa.Table:
        """The rows of `batch` without fault; the others are counted."""
        self.num_rows += batch.num_rows + len(batch.unreadable)
        self._count("row_unreadable", len(batch.unreadable), iter(batch.unreadable))
        good = np.ones(batch.num_rows, dtype=bool)
        for reason, faulty in _faults(batch):
            faulty = faulty & good
            if faulty.any():
                self._count(reason, int(faulty.sum()), (_quote(batch, int(row), reason) for row in np.flatnonzero(faulty)))
                good &= ~faulty
        table = pa.table(batch.columns)
        return table if good.all() else table.filter(pa.array(good))

    def check_share(self, limit: float) -> None:
        """Raise ClickLogError, with counts and examples, where more than `limit` of the rows are faulty."""
        if self.num_rows and self.num_faulty / self.num_rows > limit:
            counts = ", ".join(f"{count} {reason}" for reason, count in self.counts.most_common())
            first = "\n  ".join(self.examples[reason][0] for reason, _ in self.counts.most_common())
            raise ClickLogError(
                f"{self.num_faulty} of {self.num_rows} rows ({self.num_faulty / self.num_rows:.1%}) are faulty, more than the "
                f"{limit:.1%} that clicks.max_faulty_share allows: {counts}. First of each:\n  {first}\n"
                "Mend the log or its column mapping (clicks.columns), or raise the limit"
            )

    def _count(self, reason: str, count: int, examples: Iterator[str]) -> None:
        self.counts[reason] += count
        if count == 0:
            del self.counts[reason]
            return
        while len(self.examples[reason]) < EXAMPLES and (example := next(examples, None)) is not None:
            self.examples[reason].append(example)


def _faults(batch: LogBatch) -> Iterator[tuple[str, BoolArray]]:
    for name in ("product", "creative", "test", "arm"):
        if name in batch.columns:
            yield f"{name}_missing", _flags(batch.columns[name].is_null())
    impressions = yield from _count_faults(batch, "impressions")
    clicks = yield from _count_faults(batch, "clicks")
    yield "clicks_above_impressions", clicks > impressions
    for name in ("propensity", "share"):
        if name in batch.columns:
            values = _floats(batch.columns[name])
            yield f"{name}_missing", ~_flags(batch.given[name])
            yield f"{name}_out_of_range", ~((values > 0.0) & (values <= 1.0))


def _count_faults(batch: LogBatch, name: str) -> Generator[tuple[str, BoolArray], None, npt.NDArray[np.float64]]:
    values = _floats(batch.columns[name])
    yield f"{name}_missing", ~_flags(batch.given[name])
    yield f"{name}_no_number", ~np.isfinite(values)
    yield f"{name}_negative", values < 0.0
    yield f"{name}_not_whole", values != np.floor(values)
    return values


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _flags(values: pa.Array) -> BoolArray:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=bool)


def _quote(batch: LogBatch, row: int, reason: str) -> str:
    shown = ", ".join(f"{name} {_short(batch.columns[name][row].as_py())}" for name in batch.columns if name not in ("image", PICTURE))
    return f"{batch.file} row {batch.first_row + row} {REASONS[reason]} ({shown})"


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else "none" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
