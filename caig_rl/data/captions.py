"""Existing ads with the words for their backgrounds: what pre-training learns prompts from. Checked row by row, as a catalog is."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from caig_rl.data.columns import map_columns
from caig_rl.data.row_images import RowRefused, image_folder, resolve_image
from caig_rl.data.rows import Row, read_rows
from caig_rl.types import Rejected

COLUMNS = ("product_id", "image", "caption")


@dataclass(frozen=True, slots=True)
class CaptionedCreative:
    """One row of the file. The picture is read when it is needed."""

    product_id: str
    image: Path
    caption: str
    """What the background shows, in words."""
    where: str
    """"ads.csv row 12"."""


def load_captioned(
    path: Path, columns: Mapping[str, str], product_ids: AbstractSet[str]
) -> tuple[list[CaptionedCreative], list[Rejected], int]:
    """(usable rows, faulty rows with their reason, rows read) of the file at `path`; `columns` is `pretrain.columns`.

    Raises:
        CatalogError: the file cannot be read, or lacks a column.
        ConfigError: a wrong key in `columns`.
    """
    present, rows = read_rows(path)
    mapping = map_columns(path.name, present, columns, COLUMNS, COLUMNS, "pretrain.columns")
    folder, usable, rejected = image_folder(path), [], []
    for row in rows:
        try:
            usable.append(_read(row, mapping, folder, product_ids))
        except RowRefused as refusal:
            rejected.append(Rejected(row.where, refusal.reason, f"{row.where}: {refusal}"))
    return usable, rejected, len(rows)


def _read(row: Row, columns: Mapping[str, str], folder: Path, product_ids: AbstractSet[str]) -> CaptionedCreative:
    if row.fault:
        raise RowRefused("row_unreadable", row.fault)
    product_id, image, caption = (" ".join(row.values.get(columns[name], "").split()) for name in COLUMNS)
    if product_id not in product_ids:
        raise RowRefused("product_unknown", f"the catalog has no product {product_id!r}")
    if not caption:
        raise RowRefused("caption_empty", "the caption is empty")
    return CaptionedCreative(product_id, resolve_image(folder, image), caption, row.where)
