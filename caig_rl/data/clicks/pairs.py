"""Same-product pairs, how sure their order is, and which of them each policy keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from caig_rl.data.clicks.shrinkage import order_probability, z_score

Policy = Literal["official", "all", "significant", "posterior"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
OFFICIAL_BAND = (1.05, 1.20)
"""Ratio of the higher to the lower CTR that the paper's code keeps."""
SIGNIFICANT_Z = 1.96
CHUNK_PAIRS = 1 << 18
"""Pairs made at a time, about."""

PAIR_SCHEMA = pa.schema(
    [
        pa.field("test_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("split", pa.string(), metadata={"meaning": "train, validation or heldout; by product"}),
        pa.field("first", pa.string(), metadata={"meaning": "creative_id; the order of first and second means nothing"}),
        pa.field("second", pa.string(), metadata={"meaning": "creative_id"}),
        pa.field("label", pa.int8(), metadata={"meaning": "1: first has the higher observed CTR, 0: second; null where they are equal"}),
        pa.field("order_probability", pa.float32(), metadata={"meaning": "q: posterior probability that first's true CTR is the higher"}),
        pa.field("weight", pa.float32(), metadata={"meaning": "|2 q - 1|: how sure the order is, whichever it is"}),
        pa.field("z", pa.float32(), metadata={"meaning": "two-proportion z of first against second"}),
        pa.field("official", pa.bool_(), metadata={"meaning": "the higher CTR is 1.05 to 1.20 times the lower"}),
        pa.field("significant", pa.bool_(), metadata={"meaning": "|z| > 1.96"}),
        pa.field("first_ctr", pa.float32(), metadata={"meaning": "observed"}),
        pa.field("second_ctr", pa.float32(), metadata={"meaning": "observed"}),
        pa.field("first_posterior_ctr", pa.float32()),
        pa.field("second_posterior_ctr", pa.float32()),
    ]
)
"""Columns of `pairs.parquet`: every pair, whatever the policy, so that all are measured on the same ones."""


def make_pairs(creatives: pa.Table, max_pairs_per_test: int, seed: int) -> Iterator[pa.Table]:
    """`PAIR_SCHEMA` tables of all pairs inside one test and product, in the order of `creatives` (a `CREATIVE_SCHEMA` table).

    A test with more than `max_pairs_per_test` gives a random selection of that many, drawn from `seed` and its place.
    """
    starts, ends = comparison_blocks(creatives)
    firsts: list[npt.NDArray[np.int64]] = []
    seconds: list[npt.NDArray[np.int64]] = []
    size = 0
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first, second = _block_pairs(int(end - start), max_pairs_per_test, [seed, number])
        firsts.append(first + start)
        seconds.append(second + start)
        size += len(first)
        if size >= CHUNK_PAIRS:
            yield _pair_table(creatives, np.concatenate(firsts), np.concatenate(seconds))
            firsts, seconds, size = [], [], 0
    if size:
        yield _pair_table(creatives, np.concatenate(firsts), np.concatenate(seconds))


def comparison_blocks(creatives: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(first row, row after the last) of each run of rows of one test and product; `creatives` is sorted by them."""
    if creatives.num_rows == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    codes = [creatives[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("test_id", "product_id")]
    changes = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
    return np.concatenate([[0], changes]), np.concatenate([changes, [creatives.num_rows]])


def count_all_pairs(creatives: pa.Table) -> int:
    """Same-product pairs before the limit a test."""
    starts, ends = comparison_blocks(creatives)
    sizes = ends - starts
    return int((sizes * (sizes - 1) // 2).sum())


def policy_mask(pairs: pa.Table, policy: Policy) -> npt.NDArray[np.bool_]:
    """(M,) the pairs that `policy` keeps. Equal observed CTRs have no order; "posterior" keeps them where the posterior has one."""
    if policy == "posterior":
        return np.asarray(pairs["weight"].to_numpy() > 0.0)
    labelled = np.asarray(pairs["label"].is_valid().to_numpy())
    return labelled if policy == "all" else labelled & pairs[policy].to_numpy()


def policy_weights(pairs: pa.Table, policy: Policy) -> npt.NDArray[np.float32]:
    """(M,) weight of each pair in a loss: 1 where the policy keeps it (posterior: its confidence |2 q - 1|), else 0."""
    mask = policy_mask(pairs, policy)
    weights = pairs["weight"].to_numpy() if policy == "posterior" else np.ones(len(mask))
    return np.where(mask, weights, 0.0).astype(np.float32)


def label_trust(pairs: pa.Table) -> npt.NDArray[np.float64]:
    """(M,) posterior probability that the observed order is the true one; NaN where there is none. Its mean is the noise ceiling: the
    accuracy that someone who knew every true CTR would reach on these labels."""
    q = pairs["order_probability"].to_numpy().astype(np.float64)
    label = pairs["label"].to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isnan(label), np.nan, np.where(label == 1.0, q, 1.0 - q))


def _block_pairs(size: int, limit: int, seed: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    total = size * (size - 1) // 2
    if total <= limit:
        first, second = np.triu_indices(size, k=1)
        return first.astype(np.int64), second.astype(np.int64)
    flat = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    # Pair number f of row i lies at i * size - i (i + 1) / 2 - i - 1 + j; solved for i in floats, exact far beyond any test's size.
    first = (size - 2 - np.floor(np.sqrt(-8.0 * flat + 4.0 * size * (size - 1) - 7) / 2.0 - 0.5)).astype(np.int64)
    second = (flat + first + 1 - total + (size - first) * (size - first - 1) // 2).astype(np.int64)
    return first, second


def _pair_table(creatives: pa.Table, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> pa.Table:
    ctr, shown = creatives["ctr"].to_numpy(), creatives["effective_impressions"].to_numpy()
    mean, std = creatives["posterior_ctr"].to_numpy(), creatives["posterior_std"].to_numpy()
    q = order_probability(mean[first], std[first] ** 2, mean[second], std[second] ** 2)
    z = z_score(ctr[first] * shown[first], shown[first], ctr[second] * shown[second], shown[second])
    high, low = np.maximum(ctr[first], ctr[second]), np.minimum(ctr[first], ctr[second])
    # Compared as products: a lower CTR of zero has no ratio and lies in no band.
    official = (low > 0.0) & (high >= OFFICIAL_BAND[0] * low) & (high <= OFFICIAL_BAND[1] * low)
    columns = {
        "test_id": creatives["test_id"].take(pa.array(first)),
        "product_id": creatives["product_id"].take(pa.array(first)),
        "split": creatives["split"].take(pa.array(first)),
        "first": creatives["creative_id"].take(pa.array(first)),
        "second": creatives["creative_id"].take(pa.array(second)),
        "label": pa.array((ctr[first] > ctr[second]).astype(np.int8), mask=ctr[first] == ctr[second]),
        "order_probability": q.astype(np.float32),
        "weight": np.abs(2.0 * q - 1.0).astype(np.float32),
        "z": z.astype(np.float32),
        "official": official,
        "significant": np.abs(z) > SIGNIFICANT_Z,
        "first_ctr": ctr[first].astype(np.float32),
        "second_ctr": ctr[second].astype(np.float32),
        "first_posterior_ctr": mean[first].astype(np.float32),
        "second_posterior_ctr": mean[second].astype(np.float32),
    }
    return pa.table(columns, schema=PAIR_SCHEMA)
