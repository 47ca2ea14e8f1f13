"""Logs of impressions and clicks, in the schema a platform would hand over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.types import ImageArray, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.tastes import SEGMENT_SHARES, SEGMENTS

POSITION_FACTORS = (1.0, 0.82, 0.66)
"""CTR by position on the page, relative to the first. Positions are assigned at random, so they do not bias a comparison."""

LOG_SCHEMA = pa.schema(
    [
        ("creative_id", pa.string()),
        ("product_id", pa.string()),
        ("segment", pa.string()),
        ("position", pa.int32()),
        ("impressions", pa.int64()),
        ("clicks", pa.int64()),
    ]
)


def click_log(
    judge: WorldJudge,
    products: Sequence[Product],
    creatives: Sequence[ImageArray],
    creative_ids: Sequence[str],
    impressions: int,
    seed: int,
) -> pa.Table:
    """Show each creative `impressions` times over segments and positions; one row a creative, segment and position."""
    rng = np.random.default_rng((seed, 3))
    ctrs = judge.segment_ctrs(products, creatives)
    shares = np.outer(SEGMENT_SHARES, np.full(len(POSITION_FACTORS), 1 / len(POSITION_FACTORS))).ravel()
    columns: dict[str, list[object]] = {name: [] for name in LOG_SCHEMA.names}
    cells = [(segment, position) for segment in range(len(SEGMENTS)) for position in range(len(POSITION_FACTORS))]
    for index, product in enumerate(products):
        shown = rng.multinomial(impressions, shares).reshape(len(SEGMENTS), len(POSITION_FACTORS))
        clicked = rng.binomial(shown, np.outer(ctrs[index], POSITION_FACTORS))
        for segment, position in cells:
            row = (
                creative_ids[index],
                product.product_id,
                SEGMENTS[segment],
                position + 1,
                shown[segment, position],
                clicked[segment, position],
            )
            for name, value in zip(LOG_SCHEMA.names, row, strict=True):
                columns[name].append(value)
    return pa.table(columns, schema=LOG_SCHEMA)


def by_creative(log: pa.Table, segment: str = "") -> pa.Table:
    """Impressions and clicks summed per creative, of one segment alone where it is named: creative_id, product_id, impressions, clicks, by
    creative_id."""
    if segment:
        log = log.filter(pc.equal(log["segment"], segment))
    grouped = log.group_by(["creative_id", "product_id"], use_threads=False).aggregate([("impressions", "sum"), ("clicks", "sum")])
    named: pa.Table = grouped.rename_columns(["creative_id", "product_id", "impressions", "clicks"])
    return named.sort_by("creative_id")
