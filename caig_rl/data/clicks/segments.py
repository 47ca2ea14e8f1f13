"""The parts of a click log that were shown to each segment of shoppers: what its creatives earned there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.data.clicks.totals import KEYS, SUMS
from caig_rl.errors import ClickLogError

SEGMENTS = "segments.parquet"
SEGMENT_SCHEMA = pa.schema(
    [
        pa.field("test_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("creative_id", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("impressions", pa.int64(), metadata={"meaning": "as logged, all arms of the creative in this segment together"}),
        pa.field("clicks", pa.int64()),
        pa.field("effective_impressions", pa.float64(), metadata={"meaning": "see creatives.parquet"}),
        pa.field("ctr", pa.float64(), metadata={"meaning": "observed; weighted by inverse propensity where logged"}),
    ]
)
"""Columns of `segments.parquet`, one row a creative of a test and segment, in this order of keys; what else is said of a creative is in
`creatives.parquet`."""


def segment_creatives(arms: pa.Table, usable: pa.Table, segments: Sequence[str], min_impressions: int) -> pa.Table:
    """`SEGMENT_SCHEMA` table of the creatives with at least `min_impressions` in a segment.

    Args:
        arms: of the whole log, with a row for each segment (`ArmTotals`).
        usable: the arms of tests that the sample-ratio check did not set aside.
        segments: those that are told apart; rows of others are left out.
        min_impressions: a creative with fewer in a segment is left out there.

    Raises:
        ClickLogError: the log has no row of one of `segments`.
    """
    found = {str(name) for name in arms["segment"].drop_null().unique().to_pylist()}
    for name in segments:
        if name not in found:
            raise ClickLogError(f"segments.names has {name!r}, and the log has no row of it; its segments are {', '.join(sorted(found))}")
    kept = arms.filter(pc.is_in(arms["segment"], pa.array(segments, pa.string())))
    kept = kept.join(usable.select(KEYS), keys=list(KEYS), join_type="left semi")
    # A join gives its rows in any order, and sums of floats depend on it.
    kept = kept.sort_by([(name, "ascending") for name in (*KEYS, "segment")])
    keys = ["test", "product", "creative", "segment"]
    merged = kept.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in SUMS]).rename_columns([*keys, *SUMS])
    merged = merged.filter(pc.greater_equal(merged["impressions"], float(min_impressions))).sort_by([(name, "ascending") for name in keys])
    weight, weighted_clicks, squared = (np.asarray(merged[name].to_numpy(), np.float64) for name in SUMS[2:])
    columns = {
        "test_id": merged["test"],
        "product_id": merged["product"],
        "creative_id": merged["creative"],
        "segment": merged["segment"],
        "impressions": merged["impressions"].cast(pa.int64()),
        "clicks": merged["clicks"].cast(pa.int64()),
        "effective_impressions": weight**2 / squared,
        "ctr": weighted_clicks / weight,
    }
    return pa.table(columns, schema=SEGMENT_SCHEMA)
