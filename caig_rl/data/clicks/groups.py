"""Training files: one row a test with all its creatives, pictures scaled and inside, so that a job streams them and needs nothing else."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from caig_rl.data.clicks.dataset import ClickDataset
from caig_rl.data.clicks.files import parquet_writer
from caig_rl.data.clicks.pairs import comparison_blocks
from caig_rl.data.clicks.pictures import PictureFaults
from caig_rl.data.clicks.training_files import source_digest
from caig_rl.imaging.views import judge_view
from caig_rl.types import ImageArray

GROUP_SCHEMA = pa.schema(
    [
        pa.field("test_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("category", pa.string()),
        pa.field("description", pa.string()),
        pa.field("images", pa.list_(pa.binary()), metadata={"meaning": "PNG of each creative's view, (size, size, 3)"}),
        pa.field("impressions", pa.list_(pa.float64()), metadata={"meaning": "effective, see creatives.parquet"}),
        pa.field("clicks", pa.list_(pa.float64()), metadata={"meaning": "ctr times effective impressions"}),
    ]
)
"""Columns of a training file."""
SEGMENTED_SCHEMA = GROUP_SCHEMA.append(
    pa.field("segment", pa.string(), metadata={"meaning": "whose impressions and clicks alone are in this row; empty: everybody's"})
)
"""The same where segments of shoppers are told apart: a test has a row of everybody's clicks and one of each segment's."""
GROUPS_PER_WRITE = 32
"""Tests a row group: what a reader must hold."""
ROWS_PER_DIGEST = 4096
"""Creatives at a time."""


def groups_source(data: ClickDataset, size: int) -> str:
    """What `write_groups` reads, as one number (`source_digest`): files written from the same need not be written again."""
    content = hashlib.sha256()
    for batch in data.creatives.to_batches(max_chunksize=ROWS_PER_DIGEST):
        content.update(batch.serialize())
    texts = {product_id: data.texts[product_id] for product_id in sorted(data.texts)}
    pictures = (data.images / name for name in data.creatives["image"].to_pylist() if name)
    if data.by_segment is None:
        return source_digest((size, content.hexdigest(), texts, GROUP_SCHEMA.names), pictures)
    for batch in data.by_segment.to_batches(max_chunksize=ROWS_PER_DIGEST):
        content.update(batch.serialize())
    return source_digest((size, content.hexdigest(), texts, SEGMENTED_SCHEMA.names), pictures)


def write_groups(data: ClickDataset, split: str, size: int, folder: Path, faults: PictureFaults) -> int:
    """Write `folder/SPLIT.parquet`, every test of the split with at least two creatives, views of side `size`; returns the number of rows.

    Where segments of shoppers are told apart, a test has a further row for each that was shown at least two of its creatives. A creative
    whose picture cannot be used is left out and counted in `faults`, and its test with it where fewer than two are left.
    """
    written, schema = 0, GROUP_SCHEMA if data.by_segment is None else SEGMENTED_SCHEMA
    with parquet_writer(str(folder), f"{split}.parquet", schema) as write:
        pending: list[dict[str, object]] = []
        for group in _groups(data, split, size, faults):
            pending.append(group)
            written += 1
            if len(pending) == GROUPS_PER_WRITE:
                write(pa.Table.from_pylist(pending, schema=schema))
                pending = []
        if pending:
            write(pa.Table.from_pylist(pending, schema=schema))
    return written


def _groups(data: ClickDataset, split: str, size: int, faults: PictureFaults) -> Iterator[dict[str, object]]:
    splits = data.creatives["split"].to_pylist()
    ctr, shown = (data.creatives[name].to_numpy() for name in ("ctr", "effective_impressions"))
    in_segment = _counts_by_segment(data)
    starts, ends = comparison_blocks(data.creatives)
    tests = data.creatives["test_id"].take(starts).to_pylist()
    for block in sorted(range(len(starts)), key=lambda block: _place(tests[block])):
        start, end = starts[block], ends[block]
        if splits[start] != split or end - start < 2:
            continue
        pictures = [(row, faults.picture(data, row)) for row in range(int(start), int(end))]
        views = {row: encode_png(judge_view(picture, size)) for row, picture in pictures if picture is not None}
        if len(views) < 2:
            faults.tests_lost += 1
            continue
        product, rows = data.product(int(start)), list(views)
        words = {name: getattr(product, name) for name in ("product_id", "title", "category", "description")}
        counts = {"impressions": shown[rows].tolist(), "clicks": (ctr * shown)[rows].tolist()}
        yield {"test_id": tests[block], **words, "images": list(views.values()), **counts, "segment": ""}
        for segment, counts_of in in_segment.items():
            seen = [row for row in rows if row in counts_of]
            if len(seen) > 1:
                counts = {name: [counts_of[row][name] for row in seen] for name in counts}
                yield {"test_id": tests[block], **words, "images": [views[row] for row in seen], **counts, "segment": segment}


def _counts_by_segment(data: ClickDataset) -> dict[str, dict[int, dict[str, float]]]:
    """Segment -> row in `creatives` -> impressions and clicks there, as `GROUP_SCHEMA` has them."""
    if data.by_segment is None:
        return {}
    keys = ("test_id", "product_id", "creative_id")
    place = {key: row for row, key in enumerate(zip(*(data.creatives[name].to_pylist() for name in keys), strict=True))}
    found: dict[str, dict[int, dict[str, float]]] = {}
    for row in data.by_segment.to_pylist():
        shown = row["effective_impressions"]
        counts = {"impressions": shown, "clicks": row["ctr"] * shown}
        found.setdefault(row["segment"], {})[place[tuple(row[name] for name in keys)]] = counts
    return found


def _place(test_id: str) -> bytes:
    """Tests are written in an order that means nothing: a reader shuffles within a window only, and neighbours in a log are alike."""
    return hashlib.blake2b(test_id.encode(), digest_size=8).digest()


def encode_png(image: ImageArray) -> bytes:
    """The picture as a PNG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(content: bytes) -> ImageArray:
    """What `encode_png` was given. For our own files alone: merchants' pictures go through `imaging.loading`."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))
