"""From a catalog and captioned ads to the training files of stage A."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from caig_rl.data.captions import CaptionedCreative, load_captioned
from caig_rl.data.clicks.groups import decode_png
from caig_rl.data.pretrain_rows import PRETRAIN_SCHEMA, TextRules, write_pretrain_rows
from caig_rl.errors import CatalogError, ConfigError
from caig_rl.imaging.views import save_png
from caig_rl.world.products import WorldProducts

SOURCE = WorldProducts(0, 40, "train")
IDS = {product.product_id for product in SOURCE.products}
RULES = TextRules(("<image>",), 12, lambda text: len(text.split()))


def write_captions(folder: Path, *more: str) -> Path:
    save_png(np.full((40, 40, 3), 90, np.uint8), folder / "ad.png")
    (folder / "broken.png").write_bytes(b"no picture")
    lines = [f"{name},ad.png,on oak table with roses" for name in sorted(IDS)]
    (folder / "ads.csv").write_text("\n".join(["sku,image,caption", *lines, *more]) + "\n")
    return folder / "ads.csv"


COLUMNS = {"product_id": "sku"}


def test_every_photo_and_every_ad_is_a_row_and_products_stay_in_one_split(tmp_path: Path):
    captioned, rejected, read = load_captioned(write_captions(tmp_path), COLUMNS, IDS)
    assert (len(captioned), rejected, read) == (40, [], 40)
    written = write_pretrain_rows(SOURCE, captioned, RULES, 32, 0, 0.25, tmp_path)
    tables = {split: pq.read_table(tmp_path / f"{split}.parquet") for split in ("train", "validation")}
    assert {split: table.num_rows for split, table in tables.items()} == dict(written.rows)
    assert sum(written.rows.values()) == 80
    assert all(table.schema.equals(PRETRAIN_SCHEMA) for table in tables.values())
    train, validation = (set(table["product_id"].to_pylist()) for table in tables.values())
    assert train | validation == IDS
    assert not train & validation
    numbers = [number for table in tables.values() for number in table["number"].to_pylist()]
    assert sorted(numbers) == list(range(80))
    ad = next(row for row in tables["train"].to_pylist() if row["caption"])
    assert decode_png(ad["photo"]).shape == (32, 32, 3)
    assert decode_png(ad["creative"]).tolist() == np.full((32, 32, 3), 90).tolist()
    assert all((row["creative"] == b"") == (row["caption"] == "") for row in tables["train"].to_pylist())


def test_photos_alone_are_left_out_where_nothing_is_asked_about_them(tmp_path: Path):
    captioned, _, _ = load_captioned(write_captions(tmp_path), COLUMNS, IDS)
    written = write_pretrain_rows(SOURCE, captioned, RULES, 32, 0, 0.25, tmp_path, with_photos=False)
    assert sum(written.rows.values()) == written.captioned == 40


def test_faulty_rows_are_named_with_their_reason_and_too_many_stop_the_job(tmp_path: Path):
    name = min(IDS)
    long = " ".join(["word"] * 12)
    rows = ["none,ad.png,a scene", f"{name},ad.png,", f"{name},gone.png,a scene", f"{name},../ads.csv,a scene"]
    later = [f"{name},broken.png,a scene", f"{name},ad.png,an <image> of it", f"{name},ad.png,{long}"]
    captioned, rejected, read = load_captioned(write_captions(tmp_path, *rows, *later), COLUMNS, IDS)
    assert [row.reason for row in rejected] == ["product_unknown", "caption_empty", "image_missing", "path_escapes"]
    assert rejected[0].where == "ads.csv row 42"
    written = write_pretrain_rows(SOURCE, captioned, RULES, 32, 0, 0.25, tmp_path)
    assert [row.reason for row in written.rejected][1:] == ["special_token", "caption_too_long"]
    assert written.captioned == 40
    written.check(rejected, read, 0.2)
    with pytest.raises(CatalogError, match=r"7 of 47 captioned rows are faulty.*more than pretrain.max_faulty_share \(5%\)"):
        written.check(rejected, read, 0.05)


def test_a_product_whose_text_holds_a_special_token_is_counted_though_it_has_no_ad(tmp_path: Path):
    source = WorldProducts(0, 8, "train")
    plain, other = source.products[:2]
    bad = dataclasses.replace(plain, title="an <image> of a mug")
    source.products = [bad, *source.products[1:]]
    captioned = [CaptionedCreative(other.product_id, tmp_path / "ad.png", "on oak table", "ads.csv row 2")]
    save_png(np.full((40, 40, 3), 90, np.uint8), tmp_path / "ad.png")
    written = write_pretrain_rows(source, captioned, RULES, 32, 0, 0.25, tmp_path)
    assert [(row.reason, row.where) for row in written.unusable] == [("product_special_token", bad.source)]
    assert "'<image>'" in written.unusable[0].message
    assert written.rejected == [] and sum(written.rows.values()) == 8
    written.check([], 1, 0.0)


def test_a_missing_column_is_named_with_the_key_that_maps_it(tmp_path: Path):
    path = write_captions(tmp_path)
    with pytest.raises(CatalogError, match=r"no column 'product_id'.*Set pretrain.columns.product_id"):
        load_captioned(path, {}, IDS)
    with pytest.raises(ConfigError, match=r"pretrain.columns has no key 'sku'"):
        load_captioned(path, {"sku": "product_id"}, IDS)
