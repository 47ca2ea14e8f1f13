"""The merchant's own products: a catalog file or a folder of images, checked row by row.

Every row becomes a product or a `Rejected` with its reason. The catalog holds paths and text, never pixels.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.columns import map_columns
from caig_rl.data.row_images import RowRefused, image_folder, resolve_image
from caig_rl.data.rows import Row, read_rows
from caig_rl.errors import CatalogError
from caig_rl.imaging.cutout import MAX_SIDE, NoProductFound, make_cutout
from caig_rl.imaging.loading import ImageRefused, load_rgba
from caig_rl.types import Cutout, Product, Rejected

logger = logging.getLogger(__name__)

MAX_TITLE = 300
"""Longer titles are shortened to this many characters."""
UNKNOWN_CATEGORY = "unknown"
"""Category of a product whose row names none."""


@dataclass(frozen=True, slots=True)
class FileCatalog:
    """Products read from files: a `ProductSource`."""

    products: tuple[Product, ...]
    """Every usable product, in the file's order."""
    rejected: tuple[Rejected, ...]
    """Every row that never became a product, in the file's order."""
    images: Mapping[str, Path]
    """Product id -> its image."""
    max_pixels: int
    max_side: int

    def cutouts(self, product_ids: Sequence[str]) -> list[Cutout]:
        """Load and cut out these products' images, in this order.

        Raises ValueError for an id that is not in the catalog, CatalogError for an image that changed since the catalog was read.
        """
        return [self._cutout(product_id) for product_id in product_ids]

    def _cutout(self, product_id: str) -> Cutout:
        if product_id not in self.images:
            raise ValueError(f"no product {product_id!r} in this catalog")
        try:
            return make_cutout(load_rgba(self.images[product_id], self.max_pixels), self.max_side)
        except (ImageRefused, NoProductFound) as error:
            raise CatalogError(f"the image of {product_id!r} changed since the catalog was read: {error}") from error


def load_catalog(config: CatalogConfig, imaging_size: int = MAX_SIDE) -> FileCatalog:
    """Read the catalog at `config.path`, decode and cut out each image once to see that it can be used.

    `imaging_size` is the longest side of a cut-out in pixels. Raises CatalogError when the catalog cannot be read or holds nothing
    usable, ConfigError for a wrong key in `config.columns`.
    """
    assert config.path is not None, "catalog.path is empty: products come from the click world"
    path = Path(config.path)
    present, rows = read_rows(path)
    if not rows:
        raise CatalogError(f"{path} holds no rows" if path.is_file() else f"{path} holds no files")
    reader = _RowReader(config, image_folder(path), map_columns(path.name, present, config.columns), imaging_size)
    for row in rows[: config.max_products]:
        reader.take(row)
    if not reader.products:
        raise CatalogError(f"{path} holds no usable product; {_counts(reader.rejected)}. First: {_first(reader.rejected)}")
    logger.info("%s: %d products, %d rows rejected", path, len(reader.products), len(reader.rejected))
    return FileCatalog(tuple(reader.products), tuple(reader.rejected), reader.images, config.max_pixels, imaging_size)


class _RowReader:
    """Turns rows into products, one by one."""

    def __init__(self, config: CatalogConfig, folder: Path, columns: Mapping[str, str], max_side: int) -> None:
        self.products: list[Product] = []
        self.rejected: list[Rejected] = []
        self.images: dict[str, Path] = {}
        self._config, self._folder, self._columns, self._max_side = config, folder, columns, max_side

    def take(self, row: Row) -> None:
        """Accept or reject one row."""
        try:
            product, image = self._read(row)
            self._check_cutout(image)
        except (RowRefused, ImageRefused) as refusal:
            message = f"{row.where}: {refusal}"
            logger.warning("%s (%s)", message, refusal.reason)
            self.rejected.append(Rejected(where=row.where, reason=refusal.reason, message=message))
            return
        self.products.append(product)
        self.images[product.product_id] = image

    def _read(self, row: Row) -> tuple[Product, Path]:
        if row.fault:
            raise RowRefused("row_unreadable", row.fault)
        cells = {ours: row.values.get(theirs, "") for ours, theirs in self._columns.items()}
        for theirs in self._columns.values():
            if theirs in row.nested:
                raise RowRefused("row_unreadable", f"column {theirs!r} holds a list, an object or bytes, not text")
        text = {ours: " ".join(value.split()) for ours, value in cells.items()}
        if not text["title"]:
            raise RowRefused("title_empty", "the title is empty")
        product_id = text.get("product_id") or f"row-{row.number}"
        if product_id in self.images:
            first = next(product.source for product in self.products if product.product_id == product_id)
            raise RowRefused("duplicate_id", f"product_id {product_id!r} was used before, in {first}")
        product = Product(
            product_id=product_id,
            title=_shorten(text["title"], row.where),
            category=text.get("category") or UNKNOWN_CATEGORY,
            description=text.get("description", ""),
            source=row.where,
        )
        return product, resolve_image(self._folder, cells["image"].strip())

    def _check_cutout(self, image: Path) -> None:
        try:
            cutout = make_cutout(load_rgba(image, self._config.max_pixels), self._max_side)
        except NoProductFound as error:
            raise RowRefused("no_product_found", f"{image.name}: {error}; bring a cut-out, or a photo on a plain ground") from error
        if cutout.confidence < self._config.min_cutout_confidence:
            raise RowRefused(
                "low_cutout_confidence",
                f"{image.name}: confidence {cutout.confidence:.2f} is below {self._config.min_cutout_confidence:.2f} "
                "(catalog.min_cutout_confidence); bring a cut-out, or a photo on a plainer ground",
            )


def _shorten(title: str, where: str) -> str:
    if len(title) <= MAX_TITLE:
        return title
    logger.warning("%s: title of %d characters shortened to %d", where, len(title), MAX_TITLE)
    return title[:MAX_TITLE].rstrip()


def _counts(rejected: Sequence[Rejected]) -> str:
    counts = Counter(row.reason for row in rejected)
    return f"{len(rejected)} rows rejected: " + ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def _first(rejected: Sequence[Rejected]) -> str:
    return rejected[0].message
