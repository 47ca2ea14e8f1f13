"""The merchant's own products: a catalog file or a folder of images, checked row by row.

Every row becomes a product or a `Rejected` with its reason. The catalog holds paths and text, never pixels.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.columns import ignored_columns, map_columns
from caig_rl.data.row_images import RowRefused, brief, image_folder, resolve_image
from caig_rl.data.rows import Row, read_rows
from caig_rl.errors import CatalogError
from caig_rl.imaging.cutout import MAX_SIDE, NoProductFound, make_cutout
from caig_rl.imaging.loading import ImageRefused, load_rgba
from caig_rl.types import Cutout, Note, Product, Rejected
from caig_rl.wording import counted

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
    notes: tuple[Note, ...] = ()
    """What was not taken as it stood, without costing a row: columns that are not read, titles that were shortened."""

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


def load_catalog(config: CatalogConfig, imaging_size: int = MAX_SIDE, *, log: bool = True) -> FileCatalog:
    """Read the catalog at `config.path`, decode and cut out each image once to see that it can be used.

    `imaging_size` is the longest side of a cut-out in pixels. Without `log` the rejections and notes are not logged, for a caller that
    prints them itself. Raises CatalogError when the catalog cannot be read or holds nothing
    usable, ConfigError for a wrong key in `config.columns`.
    """
    reader = _read(config, imaging_size, with_images=True, log=log)
    products, rejected, notes = tuple(reader.products.values()), tuple(reader.rejected), tuple(reader.notes)
    return FileCatalog(products, rejected, reader.images, config.max_pixels, imaging_size, notes)


def load_texts(config: CatalogConfig) -> dict[str, Product]:
    """Product id -> product, of every row of the catalog whose text can be used. Images are not looked at: they may be missing.

    Raises:
        CatalogError: the catalog cannot be read or holds no usable text.
        ConfigError: a wrong key in `config.columns`.
    """
    return _read(config, MAX_SIDE, with_images=False, log=True).products


def _read(config: CatalogConfig, imaging_size: int, *, with_images: bool, log: bool) -> _RowReader:
    assert config.path is not None, "catalog.path is empty: products come from the click world"
    path = Path(config.path)
    present, rows = read_rows(path)
    if not rows:
        raise CatalogError(f"{path} holds no rows" if path.is_file() else f"{path} holds no files")
    columns = map_columns(path.name, present, config.columns)
    reader = _RowReader(config, image_folder(path), columns, imaging_size, with_images)
    ignored = ignored_columns(path.name, present, columns)
    if ignored:
        reader.notes.append(Note(path.name, "columns_not_read", ignored))
    for row in rows[: config.max_products]:
        reader.take(row)
    if log or not reader.products:
        _log(path, reader)
    if not reader.products:
        raise CatalogError(f"{path} holds no usable product; {_counts(reader.rejected)}. First: {_first(reader.rejected)}")
    return reader


def _log(path: Path, reader: _RowReader) -> None:
    told: list[Note | Rejected] = [*reader.notes, *reader.rejected]
    for one in told:
        logger.warning("%s (%s)", one.message, one.reason)
    logger.info("%s: %s, %s rejected", path, counted(len(reader.products), "product"), counted(len(reader.rejected), "row"))


class _RowReader:
    """Turns rows into products, one by one; without `with_images` by their text alone."""

    def __init__(self, config: CatalogConfig, folder: Path, columns: Mapping[str, str], max_side: int, with_images: bool) -> None:
        self.products: dict[str, Product] = {}
        self.rejected: list[Rejected] = []
        self.notes: list[Note] = []
        self.images: dict[str, Path] = {}
        self._config, self._folder, self._columns = config, folder, columns
        self._max_side, self._with_images = max_side, with_images

    def take(self, row: Row) -> None:
        """Accept or reject one row."""
        noted = len(self.notes)
        try:
            product = self._read(row)
            if self._with_images:
                image = resolve_image(self._folder, row.values.get(self._columns["image"], "").strip())
                self._check_cutout(image)
                self.images[product.product_id] = image
        except (RowRefused, ImageRefused) as refusal:
            message = f"{row.where}: {refusal}"
            self.rejected.append(Rejected(where=row.where, reason=refusal.reason, message=message))
            del self.notes[noted:]
            return
        self.products[product.product_id] = product

    def _read(self, row: Row) -> Product:
        if row.fault:
            raise RowRefused("row_unreadable", row.fault)
        cells = {ours: row.values.get(theirs, "") for ours, theirs in self._columns.items()}
        for theirs in self._columns.values():
            if theirs in row.nested:
                raise RowRefused("row_unreadable", f"column {theirs!r} holds a list, an object or bytes, not text")
        text = {ours: " ".join(value.split()) for ours, value in cells.items()}
        product_id = text.pop("product_id", "") or f"row-{row.number}"
        if _without_controls(product_id) != product_id:
            raise RowRefused("id_unusable", f"product_id {brief(product_id)} holds control characters; it must be plain text")
        text = {ours: " ".join(_without_controls(value).split()) for ours, value in text.items()}
        if not text["title"]:
            raise RowRefused("title_empty", "the title is empty")
        if product_id in self.products:
            raise RowRefused("duplicate_id", f"product_id {product_id!r} was used before, in {self.products[product_id].source}")
        return Product(
            product_id=product_id,
            title=self._shorten(text["title"], row.where),
            category=text.get("category") or UNKNOWN_CATEGORY,
            description=text.get("description", ""),
            source=row.where,
        )

    def _shorten(self, title: str, where: str) -> str:
        if len(title) <= MAX_TITLE:
            return title
        self.notes.append(Note(where, "title_shortened", f"{where}: title of {len(title)} characters shortened to {MAX_TITLE}"))
        return title[:MAX_TITLE].rstrip()

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


def _without_controls(text: str) -> str:
    """Without NUL and its like, which no reader of the report, no terminal and no tokenizer should meet."""
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cc")


def _counts(rejected: Sequence[Rejected]) -> str:
    counts = Counter(row.reason for row in rejected)
    return f"{counted(len(rejected), 'row')} rejected: " + ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def _first(rejected: Sequence[Rejected]) -> str:
    return rejected[0].message
