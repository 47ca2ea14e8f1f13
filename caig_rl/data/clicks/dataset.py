"""Reads what `caig-rl data pairs` wrote, with the pictures of the creatives: for reward training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from caig_rl.data.catalog import UNKNOWN_CATEGORY
from caig_rl.data.clicks.creatives import PICTURE_COLUMNS
from caig_rl.data.clicks.picture_file import IMAGES, read_picture
from caig_rl.data.clicks.pipeline import CREATIVES, PAIRS
from caig_rl.data.clicks.segments import SEGMENTS
from caig_rl.data.clicks.splits import TRAIN
from caig_rl.errors import ClickLogError
from caig_rl.imaging.loading import ImageRefused, decode_rgba, load_rgba, over_white
from caig_rl.types import ImageArray, Product

MAX_PIXELS = 40_000_000
"""A larger picture is refused before it is decoded."""


class PictureRefused(ClickLogError):
    """A creative's picture cannot be used."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """A short code, for counting: picture_unnamed, picture_altered, path_escapes, or one of `ImageRefused`."""


@dataclass(frozen=True, slots=True)
class ClickDataset:
    """Creatives, pairs of them, and where the pictures are. Pictures are read when asked for."""

    creatives: pa.Table
    """`CREATIVE_SCHEMA`."""
    pairs: pa.Table
    """`PAIR_SCHEMA`, of the splits that were asked for."""
    first: npt.NDArray[np.int64]
    """(M,) row in `creatives` of each pair's first."""
    second: npt.NDArray[np.int64]
    images: Path
    """Folder that image paths are relative to."""
    texts: Mapping[str, Product]
    """Product id -> product, where a catalog says more of it than the log."""
    folder: str
    """Where `data pairs` wrote, with the pictures that the log held as bytes."""
    by_segment: pa.Table | None = None
    """`SEGMENT_SCHEMA`, of the segments that were asked for; None where none were."""

    @property
    def names_files(self) -> bool:
        """True where some creative's picture is a file in `images`, not bytes in the log."""
        is_file = pc.and_(pc.is_null(self.creatives["image_offset"]), pc.greater(pc.binary_length(self.creatives["image"]), 0))
        return bool(pc.any(is_file).as_py())

    def product(self, row: int) -> Product:
        """The product of a creative: from the catalog, else from the log's own columns; its id stands for a missing title."""
        product_id = self._cell("product_id", row) or ""
        if product_id in self.texts:
            return self.texts[product_id]
        return Product(
            product_id,
            self._cell("title", row) or product_id,
            self._cell("category", row) or UNKNOWN_CATEGORY,
            self._cell("description", row) or "",
        )

    def image(self, row: int) -> ImageArray:
        """The picture of a creative, (height, width, 3).

        Raises:
            PictureRefused: it names no picture, or one that cannot be read.
        """
        name = self._cell("image", row)
        where = f"creative {self._cell('creative_id', row)!r}"
        content = self._logged_bytes(row, where)
        if content is None and not name:
            raise PictureRefused("picture_unnamed", f"{where} has no picture; map the log's column by clicks.columns.image")
        try:
            if content is None:
                rgba = load_rgba(self._inside(name or ""), MAX_PIXELS)
            else:
                rgba = decode_rgba(content, name or "the picture", MAX_PIXELS)
        except ImageRefused as error:
            raise PictureRefused(error.reason, f"{where}: its picture cannot be read ({error})") from error
        return over_white(rgba)

    def _logged_bytes(self, row: int, where: str) -> bytes | None:
        offset, size, digest = (self.creatives[name][row].as_py() for name in PICTURE_COLUMNS)
        if offset is None:
            return None
        content = read_picture(self.folder, offset, size, digest)
        if content is None:
            message = f"{where}: its picture is not in {self.folder}/{IMAGES}, as it was written; run `caig-rl data pairs` again"
            raise PictureRefused("picture_altered", message)
        return content

    def _inside(self, name: str) -> Path:
        """A shared log must not reach into the machine's files."""
        path = (self.images / name).resolve()
        if not path.is_relative_to(self.images.resolve()):
            raise ImageRefused("path_escapes", f"{name!r} leaves {self.images}, the folder of the pictures (clicks.images)")
        if not path.is_file():
            raise ImageRefused("image_missing", f"there is no file {name!r} in {self.images}, the folder of the pictures (clicks.images)")
        return path

    def _cell(self, name: str, row: int) -> str | None:
        value: str | None = self.creatives[name][row].as_py()
        return value


def load_click_dataset(
    folder: str, images: Path, split: str, texts: Mapping[str, Product] | None = None, segments: Sequence[str] = ()
) -> ClickDataset:
    """The creatives in `folder` and the pairs of `split`; `images` is the folder that image paths are relative to, `segments` those of the
    shoppers whose clicks are wanted apart too.

    Raises:
        ClickLogError: the files are missing, or hold no pair of that split, or nothing of one of `segments`.
    """
    filesystem, base = fsspec.core.url_to_fs(folder)
    for name in (CREATIVES, PAIRS):
        if not filesystem.exists(f"{base}/{name}"):
            raise ClickLogError(f"{folder}/{name} is missing; make it by `caig-rl data pairs`, or set clicks.out to the folder that has it")
    creatives = pq.read_table(f"{base}/{CREATIVES}", filesystem=filesystem)
    pairs = pq.read_table(f"{base}/{PAIRS}", filesystem=filesystem, filters=pc.equal(pc.field("split"), split))
    if pairs.num_rows == 0:
        remedy = (
            "lower the other splits' shares (clicks.validation_share, clicks.heldout_share)"
            if split == TRAIN
            else f"raise clicks.{split}_share"
        )
        raise ClickLogError(f"{folder}/{PAIRS} holds no {split} pair; {remedy} and run `caig-rl data pairs` again")
    keys = zip(*(creatives[name].to_pylist() for name in ("test_id", "product_id", "creative_id")), strict=True)
    place = {key: row for row, key in enumerate(keys)}
    blocks = list(zip(pairs["test_id"].to_pylist(), pairs["product_id"].to_pylist(), strict=True))
    first, second = (
        np.array([place[(*block, name)] for block, name in zip(blocks, pairs[side].to_pylist(), strict=True)], dtype=np.int64)
        for side in ("first", "second")
    )
    by_segment = _of_segments(folder, segments) if segments else None
    return ClickDataset(creatives, pairs, first, second, images, texts or {}, folder, by_segment)


def _of_segments(folder: str, segments: Sequence[str]) -> pa.Table:
    filesystem, base = fsspec.core.url_to_fs(folder)
    is_there = filesystem.exists(f"{base}/{SEGMENTS}")
    table = pq.read_table(f"{base}/{SEGMENTS}", filesystem=filesystem) if is_there else None
    known = set() if table is None else set(table["segment"].to_pylist())
    missing = [name for name in segments if name not in known]
    if table is None or missing:
        raise ClickLogError(
            f"{folder}/{SEGMENTS} {'has no creative of' if is_there else 'is missing, with'} the segment {missing[0]!r} of segments.names; "
            "run `caig-rl data pairs` again with these segments.names"
        )
    return table.filter(pc.is_in(table["segment"], pa.array(segments, pa.string())))
