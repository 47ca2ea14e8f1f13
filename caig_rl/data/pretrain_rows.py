"""Training files of stage A: one row a product photo and one a captioned ad, pictures scaled and inside, so that a job streams them.

A row is not yet an example: which task it serves, and in which wording, is drawn anew each epoch (`caig_rl.learning.pretrain.examples`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from caig_rl.data.captions import CaptionedCreative
from caig_rl.data.clicks.files import parquet_writer
from caig_rl.data.clicks.groups import encode_png
from caig_rl.data.clicks.splits import TRAIN, VALIDATION, split_of
from caig_rl.data.row_images import RowRefused
from caig_rl.errors import CatalogError
from caig_rl.imaging.loading import ImageRefused, load_rgba, over_white
from caig_rl.imaging.views import judge_view, policy_view
from caig_rl.interfaces import ProductSource
from caig_rl.types import ImageArray, Product, Rejected

PRETRAIN_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), metadata={"meaning": "of the row; draws of task and wording depend on it"}),
        pa.field("product_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("category", pa.string()),
        pa.field("description", pa.string()),
        pa.field("photo", pa.binary(), metadata={"meaning": "PNG of the product as the policy sees it, (size, size, 3)"}),
        pa.field("creative", pa.binary(), metadata={"meaning": "PNG of the ad, (size, size, 3); empty in a row of the photo alone"}),
        pa.field("caption", pa.string(), metadata={"meaning": "its background in words; empty there too"}),
    ]
)
"""Columns of a training file."""
PRODUCTS_AT_A_TIME = 32
MAX_PIXELS = 40_000_000
"""A larger picture is refused before it is decoded."""
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class TextRules:
    """What the policy's tokenizer can take."""

    special_tokens: Sequence[str]
    """A text that holds one would be read as a picture, or as the end of a turn."""
    max_tokens: int
    """Longest caption: `policy.max_tokens`, at which generation is cut."""
    count_tokens: Callable[[str], int]

    def check_caption(self, caption: str) -> None:
        """Raise RowRefused where the policy could not have written it."""
        self.check_words(caption)
        tokens = self.count_tokens(caption)
        if tokens >= self.max_tokens:
            raise RowRefused("caption_too_long", f"the caption has {tokens} tokens, and policy.max_tokens is {self.max_tokens}")

    def check_words(self, text: str) -> None:
        """Raise RowRefused where `text` holds a special token."""
        for token in self.special_tokens:
            if token in text:
                raise RowRefused("special_token", f"{text[:80]!r} holds the tokenizer's special token {token!r}")


@dataclass(slots=True)
class PretrainFiles:
    """What was written, and what was not."""

    rows: Counter[str] = field(default_factory=Counter)
    """Split -> rows."""
    captioned: int = 0
    """Rows with an ad and its caption, in both splits."""
    rejected: list[Rejected] = field(default_factory=list)
    """Captioned ads."""
    unusable: list[Rejected] = field(default_factory=list)
    """Products, none of which has a row."""

    def check(self, faulty_before: Sequence[Rejected], read: int, max_faulty_share: float) -> None:
        """Raise CatalogError where more than `max_faulty_share` of the `read` captioned rows, and of those alone, cannot be used."""
        faulty = [*faulty_before, *self.rejected]
        if len(faulty) <= max_faulty_share * max(read, 1):
            return
        counts = Counter(row.reason for row in faulty)
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        examples = "\n".join(f"  {row.message}" for row in faulty[:_EXAMPLES])
        raise CatalogError(
            f"{len(faulty)} of {read} captioned rows are faulty ({reasons}), more than pretrain.max_faulty_share ({max_faulty_share:.0%}). "
            f"First:\n{examples}"
        )


def write_pretrain_rows(
    source: ProductSource,
    captioned: Sequence[CaptionedCreative],
    rules: TextRules,
    size: int,
    seed: int,
    validation_share: float,
    folder: Path,
    with_photos: bool = True,
    progress: Callable[[int], None] = lambda products: None,
) -> PretrainFiles:
    """Write `folder/train.parquet` and `validation.parquet`, split by product.

    Pictures are `size` a side, and one chunk of products is in memory at a time. Without `with_photos` there are no rows of a photo
    alone: where nothing is asked about them.
    """
    by_product: dict[str, list[CaptionedCreative]] = {}
    for creative in captioned:
        by_product.setdefault(creative.product_id, []).append(creative)
    out, number = PretrainFiles(), 0
    with ExitStack() as stack:
        files = {split: parquet_writer(str(folder), f"{split}.parquet", PRETRAIN_SCHEMA) for split in (TRAIN, VALIDATION)}
        write = {split: stack.enter_context(file) for split, file in files.items()}
        for start in range(0, len(source.products), PRODUCTS_AT_A_TIME):
            products = source.products[start : start + PRODUCTS_AT_A_TIME]
            rows: dict[str, list[dict[str, object]]] = {TRAIN: [], VALIDATION: []}
            cutouts = source.cutouts([product.product_id for product in products])
            for product, cutout in zip(products, cutouts, strict=True):
                split = split_of(product.product_id, seed, validation_share, 0.0)
                for row in _rows_of(product, policy_view(cutout, size), by_product.get(product.product_id, []), rules, size, out):
                    if row["caption"] or with_photos:
                        rows[split].append({"number": number, **row})
                        number += 1
            for split, found in rows.items():
                if found:
                    write[split](pa.Table.from_pylist(found, schema=PRETRAIN_SCHEMA))
                    out.rows[split] += len(found)
            progress(start + len(products))
    return out


def _rows_of(
    product: Product, photo: ImageArray, creatives: Sequence[CaptionedCreative], rules: TextRules, size: int, out: PretrainFiles
) -> Iterator[dict[str, object]]:
    words = {"title": product.title, "category": product.category, "description": product.description}
    try:
        rules.check_words(" ".join(words.values()))
    except RowRefused as refusal:
        out.unusable.append(Rejected(product.source, f"product_{refusal.reason}", f"{product.source}: {refusal}"))
        out.rejected += [Rejected(one.where, refusal.reason, f"{one.where}: {refusal}") for one in creatives]
        return
    shared = {"product_id": product.product_id, **words, "photo": encode_png(photo)}
    yield {**shared, "creative": b"", "caption": ""}
    for creative in creatives:
        try:
            rules.check_caption(creative.caption)
            picture = judge_view(over_white(load_rgba(creative.image, MAX_PIXELS)), size)
        except (RowRefused, ImageRefused) as refusal:
            out.rejected.append(Rejected(creative.where, refusal.reason, f"{creative.where}: {refusal}"))
            continue
        out.captioned += 1
        yield {**shared, "creative": encode_png(picture), "caption": creative.caption}
