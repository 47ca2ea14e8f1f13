"""What was shown and clicked: one row an impression, and from it the log a platform would hand over."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.serving.event_log import EventReader
from caig_rl.serving.impressions import Impression

CLICK_LOG_SCHEMA = pa.schema(
    [
        ("creative_id", pa.string()),
        ("product_id", pa.string()),
        ("segment", pa.string()),
        ("position", pa.int32()),
        ("impressions", pa.int64()),
        ("clicks", pa.int64()),
    ]
)
"""The schema of click logs: what reward training reads."""
IMPRESSION_SCHEMA = pa.schema(
    [
        ("tenant", pa.string()),
        ("creative_id", pa.string()),
        ("product_id", pa.string()),
        ("category", pa.string()),
        ("segment", pa.string()),
        ("position", pa.int32()),
        ("visitor", pa.string()),
        ("arm", pa.string()),
        ("arm_share", pa.float64()),
        ("experiment", pa.string()),
        ("version", pa.string()),
        ("propensity", pa.float64()),
        ("time", pa.float64()),
        ("clicked", pa.bool_()),
    ]
)
"""One row an impression that was seen, or clicked: a click proves its impression."""


def read_impressions(root: Path, tenant: str | None = None) -> pa.Table:
    """Every impression in the event log of the service at `root`, each once, by the time it was chosen; of one tenant where named."""
    shown: dict[str, Impression] = {}
    clicked: set[str] = set()
    for event in EventReader(root).new_events():
        if tenant is None or event.impression.tenant == tenant:
            shown[event.impression.nonce] = event.impression
            if event.kind == "click":
                clicked.add(event.impression.nonce)
    rows = [
        {name: getattr(one, name) for name in IMPRESSION_SCHEMA.names if name != "clicked"} | {"clicked": nonce in clicked}
        for nonce, one in shown.items()
    ]
    return pa.Table.from_pylist(rows, schema=IMPRESSION_SCHEMA).sort_by([("time", "ascending")])


def click_log(impressions: pa.Table) -> pa.Table:
    """Impressions and clicks summed per creative, segment and position: `CLICK_LOG_SCHEMA`, in the order of those columns."""
    keys = ["creative_id", "product_id", "segment", "position"]
    counted = impressions.select(keys).append_column("clicks", pc.cast(impressions["clicked"], pa.int64()))
    grouped = counted.group_by(keys, use_threads=False).aggregate([("clicks", "count"), ("clicks", "sum")])
    named: pa.Table = grouped.rename_columns([*keys, "impressions", "clicks"]).cast(CLICK_LOG_SCHEMA)
    return named.sort_by([(key, "ascending") for key in keys])
