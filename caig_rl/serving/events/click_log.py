"""What was shown and clicked: one row an impression, and from it the log a platform would hand over."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.serving.creatives.store import CreativeStore
from caig_rl.serving.events.event_log import EventReader
from caig_rl.serving.events.impressions import Impression
from caig_rl.serving.problems import Problem

CLICK_LOG_SCHEMA = pa.schema(
    [
        ("creative_id", pa.string()),
        ("product_id", pa.string()),
        ("test_id", pa.string()),
        ("segment", pa.string()),
        ("position", pa.int32()),
        ("propensity", pa.float64()),
        ("impressions", pa.int64()),
        ("clicks", pa.int64()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("description", pa.string()),
        ("image", pa.string()),
    ]
)
"""What `caig-rl data pairs` reads. A test is a product's shelf: creatives that came later, or stood in another arm, met another audience.
`image` is a path in the service's folder; it and what is said of the product are null where the creative is no longer kept."""
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
        ("shelf", pa.string()),
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


def click_log(impressions: pa.Table, store: CreativeStore) -> pa.Table:
    """Impressions and clicks summed per creative, shelf, segment, position and propensity: `CLICK_LOG_SCHEMA`, in the order of its columns.

    Propensities are never averaged: the choice moves with the clicks, and only the exact ones undo what that does to the counts.

    Args:
        impressions: `IMPRESSION_SCHEMA`.
        store: says of each creative what it shows and where its picture lies.
    """
    keys = ["tenant", "creative_id", "product_id", "shelf", "segment", "position", "propensity"]
    counted = impressions.select(keys).append_column("clicks", pc.cast(impressions["clicked"], pa.int64()))
    grouped = counted.group_by(keys, use_threads=False).aggregate([("clicks", "count"), ("clicks", "sum")])
    named = grouped.rename_columns([*keys, "impressions", "clicks"]).sort_by([(key, "ascending") for key in keys[1:]])
    described = {key: _description(store, *key) for key in dict.fromkeys(zip(*(named[name].to_pylist() for name in keys[:2]), strict=True))}
    rows = [
        {**row, "test_id": f"{row['product_id']} {row['shelf']}", **described[row["tenant"], row["creative_id"]]}
        for row in named.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=CLICK_LOG_SCHEMA)


def _description(store: CreativeStore, tenant: str, creative_id: str) -> dict[str, str]:
    try:
        creative = store.get(tenant, creative_id).creative
    except Problem:  # the operator deleted it: what was clicked still counts, without its picture
        return {}
    said = {name: getattr(creative, name) for name in ("title", "category", "description")}
    return said | {"image": store.image_path(tenant, creative_id).as_posix()}
