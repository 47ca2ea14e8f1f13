"""From arms to creatives: only tests that can be trusted, enough impressions, and what each CTR probably is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.columns import DETAILS, PICTURE
from caig_rl.data.clicks.sample_ratio import SampleRatio
from caig_rl.data.clicks.shrinkage import estimate_prior_impressions, own_ctr, posterior
from caig_rl.data.clicks.splits import split_of

CREATIVE_SCHEMA = pa.schema(
    [
        pa.field("test_id", pa.string(), metadata={"meaning": "what traffic was split in; the product where the log has no tests"}),
        pa.field("product_id", pa.string()),
        pa.field("creative_id", pa.string()),
        pa.field("split", pa.string(), metadata={"meaning": "train, validation or heldout; the same for all creatives of a product"}),
        pa.field("impressions", pa.int64(), metadata={"meaning": "as logged, all arms of the creative together"}),
        pa.field("clicks", pa.int64()),
        pa.field("effective_impressions", pa.float64(), metadata={"meaning": "Kish's: (sum n/e)^2 / (sum n/e^2); impressions without e"}),
        pa.field("ctr", pa.float64(), metadata={"meaning": "observed; weighted by inverse propensity where logged"}),
        pa.field("own_ctr", pa.float64(), metadata={"meaning": "of the whole test: the prior's mean"}),
        pa.field("posterior_ctr", pa.float64(), metadata={"meaning": "shrunk towards own_ctr"}),
        pa.field("posterior_std", pa.float64()),
        pa.field("title", pa.string()),
        pa.field("category", pa.string()),
        pa.field("description", pa.string()),
        pa.field("image", pa.string(), metadata={"meaning": "path as the log names it; null where the log has bytes or no pictures"}),
        pa.field("image_offset", pa.int64(), metadata={"meaning": "where its bytes begin in images.bin; null where the log has paths"}),
        pa.field("image_size", pa.int64(), metadata={"meaning": "how many bytes they are"}),
        pa.field("image_digest", pa.string(), metadata={"meaning": "their BLAKE2b of 16 bytes, in hex"}),
    ]
)
"""Columns of `creatives.parquet`, one row a creative of a test, by test and creative."""
PICTURE_COLUMNS = ("image_offset", "image_size", "image_digest")
"""Filled by `picture_file`, for creatives whose picture the log holds as bytes."""


def usable_arms(arms: pa.Table, ratio: SampleRatio) -> pa.Table:
    """The arms of tests that the sample-ratio check did not set aside."""
    return arms.filter(pa.array(ratio.usable[ratio.index]))


def merge_arms(arms: pa.Table) -> pa.Table:
    """One row a creative: its arms' sums, the first detail found, and the place of the first picture held as bytes (`PICTURE`)."""
    details = [name for name in (*DETAILS, PICTURE) if name in arms.column_names]
    sums = ["impressions", "clicks", "weight", "weighted_clicks", "squared_weight"]
    functions = [(name, "sum") for name in sums] + [(name, "first") for name in details]
    grouped = arms.group_by(["test", "product", "creative"], use_threads=False).aggregate(functions)
    named: pa.Table = grouped.rename_columns(["test", "product", "creative", *sums, *details])
    return named.sort_by([("test", "ascending"), ("product", "ascending"), ("creative", "ascending")])


def creative_statistics(merged: pa.Table, config: ClicksConfig, seed: int) -> tuple[pa.Table, float]:
    """(`CREATIVE_SCHEMA` table of `merged`, every row with impressions, in its order; the prior's weight k in impressions).

    Weighted by inverse propensity, a creative counts with Kish's effective sample size, the impressions that would tell as much unweighted.
    """
    weight, weighted_clicks = _floats(merged, "weight"), _floats(merged, "weighted_clicks")
    shown = weight**2 / _floats(merged, "squared_weight")
    ctr = weighted_clicks / weight
    encoded = _pairs_of(merged).dictionary_encode()
    index, count = np.asarray(encoded.indices.to_numpy(), dtype=np.int64), len(encoded.dictionary)
    prior = config.prior_impressions or estimate_prior_impressions(ctr * shown, shown, index, count)
    own = own_ctr(ctr * shown, shown, index, count)[index]
    mean, variance = posterior(ctr * shown, shown, own, prior)
    products = merged["product"].to_pylist()
    columns = {
        "test_id": merged["test"],
        "product_id": merged["product"],
        "creative_id": merged["creative"],
        "split": [split_of(product, seed, config.validation_share, config.heldout_share) for product in products],
        "impressions": merged["impressions"].cast(pa.int64()),
        "clicks": merged["clicks"].cast(pa.int64()),
        "effective_impressions": shown,
        "ctr": ctr,
        "own_ctr": own,
        "posterior_ctr": mean,
        "posterior_std": np.sqrt(variance),
        **_details(merged),
    }
    return pa.table(columns, schema=CREATIVE_SCHEMA), float(prior)


def _pairs_of(merged: pa.Table) -> pa.Array:
    """What is compared with each other: creatives of one product in one test."""
    joined = pc.binary_join_element_wise(merged["test"], merged["product"], "\x1f")
    return joined.combine_chunks()


def _details(merged: pa.Table) -> dict[str, pa.Array]:
    nothing = pa.nulls(merged.num_rows)
    columns = {name: merged[name] if name in merged.column_names else nothing for name in DETAILS}
    return columns | dict.fromkeys(PICTURE_COLUMNS, nothing)


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)
