from __future__ import annotations

import json
import logging
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.catalog import FileCatalog, load_catalog, load_texts
from caig_rl.errors import CatalogError, ConfigError
from tests.imaging.pictures import disc_photo, png_header, save

HEADER = "product_id,title,category,description,image\n"
GOOD = "good,A red disc,Discs,Round and red.,images/good.png\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(disc_photo(), tmp_path / "shop" / "images" / "good.png")
    return tmp_path / "shop"


def write(folder: Path, text: str, name: str = "products.csv") -> CatalogConfig:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return CatalogConfig(path=str(folder / name))


def load(folder: Path, rows: str) -> FileCatalog:
    return load_catalog(write(folder, HEADER + GOOD + rows))


def reasons(catalog: FileCatalog) -> list[str]:
    return [row.reason for row in catalog.rejected]


def ids(catalog: FileCatalog) -> Sequence[str]:
    return [product.product_id for product in catalog.products]


def test_a_csv_row_becomes_a_product_and_other_columns_are_fine(folder: Path) -> None:
    catalog = load_catalog(write(folder, "price,image,title,product_id\n9.99,images/good.png, A  red disc ,007\n"))
    (product,) = catalog.products
    assert (product.product_id, product.title, product.category) == ("007", "A red disc", "unknown")
    assert (product.description, product.source) == ("", "products.csv row 2")
    assert catalog.cutouts(["007"])[0].method == "plain_ground"


def test_jsonl_and_parquet_say_the_same_as_csv(folder: Path) -> None:
    row = {"product_id": "good", "title": "A red disc", "category": "Discs", "description": "Round and red.", "image": "images/good.png"}
    pq.write_table(pa.Table.from_pylist([row, row | {"product_id": "seven", "title": None}]), folder / "a.parquet")
    lines = json.dumps(row) + "\n\n" + json.dumps(row | {"product_id": "seven", "title": None}) + "\n"
    from_parquet = load_catalog(CatalogConfig(path=str(folder / "a.parquet")))
    from_jsonl = load_catalog(write(folder, lines, "a.jsonl"))
    from_csv = load(folder, "seven,,Discs,,images/good.png\n")
    for catalog in (from_parquet, from_jsonl, from_csv):
        product = catalog.products[0]
        assert (product.product_id, product.title, product.category, product.description) == tuple(row.values())[:4]
        assert reasons(catalog) == ["title_empty"]
    assert [c.rejected[0].where for c in (from_parquet, from_jsonl, from_csv)] == ["a.parquet row 2", "a.jsonl row 3", "products.csv row 3"]


def test_a_folder_of_images_takes_titles_from_names_and_categories_from_folders(folder: Path) -> None:
    save(disc_photo(), folder / "blue-sky_mug.webp")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").write_text("not looked at")
    catalog = load_catalog(CatalogConfig(path=str(folder)))
    assert [(p.product_id, p.title, p.category) for p in catalog.products] == [
        ("blue-sky_mug.webp", "blue sky mug", "unknown"),
        ("images/good.png", "good", "images"),
    ]
    assert [(row.where, row.reason) for row in catalog.rejected] == [("shop/notes.txt", "row_unreadable")]


def test_a_missing_product_id_is_made_from_the_row_number(folder: Path) -> None:
    assert ids(load(folder, ",Disc,,,images/good.png\n")) == ["good", "row-3"]


def test_columns_can_be_named_by_the_config(folder: Path) -> None:
    config = write(folder, "sku,name,photo\nx1,Disc,images/good.png\n")
    catalog = load_catalog(config.model_copy(update={"columns": {"product_id": "sku", "title": "name", "image": "photo"}}))
    assert ids(catalog) == ["x1"]


def test_a_missing_column_is_named_with_what_is_there_and_the_nearest(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"products\.csv has no column 'image' \(nearest: 'Images'\); there is: title, Images"):
        load_catalog(write(folder, "title,Images\nDisc,images/good.png\n"))


def test_a_chosen_column_that_the_file_lacks_is_an_error_even_when_optional(folder: Path) -> None:
    config = write(folder, HEADER + GOOD).model_copy(update={"columns": {"category": "kategory"}})
    with pytest.raises(CatalogError, match=r"'kategory' .nearest: 'category'"):
        load_catalog(config)


def test_a_wrong_key_in_the_column_mapping_is_a_config_error(folder: Path) -> None:
    config = write(folder, HEADER + GOOD).model_copy(update={"columns": {"titel": "title"}})
    with pytest.raises(ConfigError, match=r"'titel' .nearest: 'title'"):
        load_catalog(config)


def test_cells_separated_by_semicolons_and_doubled_columns_are_explained(folder: Path) -> None:
    with pytest.raises(CatalogError, match="semicolons"):
        load_catalog(write(folder, "title;image\nDisc;images/good.png\n"))
    with pytest.raises(CatalogError, match="2 columns named 'title'"):
        load_catalog(write(folder, "title,title,image\na,b,images/good.png\n"))


def test_every_kind_of_bad_image_is_named_and_the_rest_goes_on(folder: Path) -> None:
    images = folder / "images"
    (images / "empty.png").touch()
    (images / "cut.png").write_bytes((images / "good.png").read_bytes()[:200])
    (images / "flat.png").write_bytes(png_header(0, 9))
    (images / "bomb.png").write_bytes(png_header(50_000, 50_000))
    (images / "page.png").write_text("<html>")
    save(np.full((64, 64, 4), 240, dtype=np.uint8), images / "ground.png")
    expected = {
        "nowhere": "image_missing",
        "empty": "image_empty",
        "cut": "image_truncated",
        "flat": "image_zero_size",
        "bomb": "image_too_large",
        "page": "image_unreadable",
        "ground": "no_product_found",
    }
    catalog = load(folder, "".join(f"{name},Title,,,images/{name}.png\n" for name in expected) + "last,Title,,,images/good.png\n")
    assert ids(catalog) == ["good", "last"]
    assert reasons(catalog) == list(expected.values())
    for number, (row, name) in enumerate(zip(catalog.rejected, expected, strict=True), start=3):
        assert row.where == f"products.csv row {number}"
        assert row.where in row.message
        assert f"{name}.png" in row.message


def test_a_cutout_below_the_asked_confidence_is_rejected_with_both_numbers(folder: Path) -> None:
    save(disc_photo(colour=(205, 205, 196)), folder / "images" / "faint.png")
    config = write(folder, HEADER + GOOD + "faint,Pale disc,,,images/faint.png\n").model_copy(update={"min_cutout_confidence": 0.95})
    catalog = load_catalog(config)
    assert ids(catalog) == ["good"]
    assert reasons(catalog) == ["low_cutout_confidence"]
    assert "below 0.95" in catalog.rejected[0].message


@pytest.mark.parametrize("image", ["../secret.png", "images/../../secret.png", "{outside}", "link.png", "linked/secret.png"])
def test_a_path_that_leaves_the_catalogs_folder_is_refused(folder: Path, image: str) -> None:
    outside = save(disc_photo(), folder.parent / "secret.png")
    (folder / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(folder.parent)
    assert reasons(load(folder, f"x,Title,,,{image.format(outside=outside)}\n")) == ["path_escapes"]


def test_paths_that_stay_inside_are_fine_however_they_are_written(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "images" / "good.png")
    rows = f"a,T,,,images/../images/good.png\nb,T,,,link.png\nc,T,,,{folder / 'images' / 'good.png'}\n"
    assert ids(load(folder, rows)) == ["good", "a", "b", "c"]


@pytest.mark.parametrize("image", ["", "  ", "images", "a" * 5000, "nul\0.png", "loop.png", "https://shop.example/a.png"])
def test_a_cell_that_names_no_file_is_image_missing(folder: Path, image: str) -> None:
    (folder / "loop.png").symlink_to(folder / "loop.png")
    catalog = load(folder, f"x,Title,,,{image}\n")
    assert reasons(catalog) == ["image_missing"]
    assert len(catalog.rejected[0].message) < 400


def test_an_empty_title_is_rejected_and_a_duplicate_id_names_its_first_row(folder: Path) -> None:
    catalog = load(folder, "x, ,,,images/good.png\ngood,Again,,,images/good.png\n")
    assert reasons(catalog) == ["title_empty", "duplicate_id"]
    assert "row 2" in catalog.rejected[1].message


def test_a_title_of_10000_characters_is_shortened_and_said_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        catalog = load(folder, f"long,{'x' * 10_000},,,images/good.png\n")
    assert catalog.products[1].title == "x" * 300
    assert "row 3: title of 10000 characters shortened to 300" in caplog.text


def test_a_shortened_title_of_a_rejected_row_is_no_note(folder: Path) -> None:
    catalog = load(folder, f"long,{'x' * 1000},,,images/none.png\n")
    assert reasons(catalog) == ["image_missing"]
    assert catalog.notes == ()


def test_columns_that_are_not_read_are_named_once_with_the_one_they_may_stand_for(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = load_catalog(write(folder, "title,image,categroy,price\nA,images/good.png,Discs,9\nB,images/good.png,Discs,9\n"))
    (note,) = catalog.notes
    assert "'categroy' (nearest: 'category'), 'price'; " in note.message
    assert [record.message for record in caplog.records] == [f"{note.message} (columns_not_read)"]
    assert len(catalog.products) == 2


def test_a_catalog_whose_every_column_is_read_has_no_notes(folder: Path) -> None:
    assert load(folder, "").notes == ()


def test_rows_are_not_logged_for_a_caller_that_prints_them_unless_none_is_usable(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = write(folder, HEADER + GOOD + "b,T,,,nowhere.png\n")
    load_catalog(config, log=False)
    assert caplog.records == []
    load_catalog(config)
    assert ["nowhere.png" in record.message for record in caplog.records] == [True]
    caplog.clear()
    with pytest.raises(CatalogError):
        load_catalog(write(folder, HEADER + "b,T,,,nowhere.png\n"), log=False)
    assert len(caplog.records) == 1


def test_control_characters_are_dropped_from_text_and_refused_in_ids(folder: Path) -> None:
    catalog = load(folder, "a,Re\0d \x1bdisc,Di\x07scs,,images/good.png\nb\0c,T,,,images/good.png\n../../d,T,,,images/good.png\n")
    assert (catalog.products[1].title, catalog.products[1].category) == ("Red disc", "Discs")
    # Ids are never file names: this one is odd, but harms nothing.
    assert ids(catalog) == ["good", "a", "../../d"]
    assert reasons(catalog) == ["id_unusable"]
    assert "'b\\x00c'" in catalog.rejected[0].message


def test_unreadable_csv_rows_are_rejected_and_the_rest_goes_on(folder: Path) -> None:
    too_long = "y" * 200_000
    catalog = load(folder, f'a,few\nb,"stray"quote,,,images/good.png\nc,{too_long},,,images/good.png\nd,T,,,images/good.png\n')
    assert ids(catalog) == ["good", "d"]
    assert [(row.where, row.reason) for row in catalog.rejected] == [(f"products.csv row {n}", "row_unreadable") for n in (3, 4, 5)]


def test_unreadable_jsonl_rows_are_rejected_and_the_rest_goes_on(folder: Path) -> None:
    good = {"title": "Disc", "image": "images/good.png"}
    lines = [json.dumps(good), "{broken", "[1, 2]", json.dumps(good | {"title": ["a"]}), "[" * 100_000, json.dumps(good)]
    catalog = load_catalog(write(folder, "\n".join(lines), "a.jsonl"))
    assert ids(catalog) == ["row-1", "row-6"]
    assert reasons(catalog) == ["row_unreadable"] * 4


def test_a_file_that_is_not_utf8_is_refused_with_place_and_remedy(folder: Path) -> None:
    (folder / "products.csv").write_bytes((HEADER + GOOD).encode() + "x,Café,,,images/good.png\n".encode("latin-1"))
    with pytest.raises(CatalogError, match=r"products\.csv is not UTF-8: byte 0xe9 at position \d+, line 3, near .*Caf.*Save it as UTF-8"):
        load_catalog(CatalogConfig(path=str(folder / "products.csv")))


def test_a_byte_order_mark_is_no_part_of_the_first_column(folder: Path) -> None:
    assert ids(load_catalog(write(folder, "\ufeff" + HEADER + GOOD))) == ["good"]


@pytest.mark.parametrize("name, text", [("products.csv", ""), ("products.csv", HEADER), ("products.jsonl", "\n\n")])
def test_an_empty_catalog_is_an_error(folder: Path, name: str, text: str) -> None:
    with pytest.raises(CatalogError, match="holds no rows"):
        load_catalog(write(folder, text, name))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="holds no files"):
        load_catalog(CatalogConfig(path=str(tmp_path)))


def test_a_catalog_with_nothing_usable_counts_the_reasons(folder: Path) -> None:
    rows = "a,,,,images/good.png\nb,T,,,nowhere.png\nc,T,,,nowhere.png\n"
    with pytest.raises(CatalogError, match="3 rows rejected: 2 image_missing, 1 title_empty"):
        load_catalog(write(folder, HEADER + rows))


@pytest.mark.parametrize("name", ["products.xlsx", "broken.parquet"])
def test_a_file_of_another_kind_is_an_error(folder: Path, name: str) -> None:
    with pytest.raises(CatalogError, match=r"no catalog|as Parquet"):
        load_catalog(write(folder, "whatever", name))


def test_a_catalog_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no catalog"):
        load_catalog(CatalogConfig(path=str(tmp_path / "products.csv")))


def test_max_products_limits_the_rows_read(folder: Path) -> None:
    config = write(folder, HEADER + GOOD + "b,T,,,nowhere.png\nc,T,,,images/good.png\n").model_copy(update={"max_products": 2})
    catalog = load_catalog(config)
    assert Counter(reasons(catalog)) == {"image_missing": 1}
    assert ids(catalog) == ["good"]


def test_the_catalog_travels_as_paths_and_loads_the_same_pixels_elsewhere(folder: Path) -> None:
    catalog = load(folder, "")
    content = pickle.dumps(catalog)
    assert len(content) < 2_000
    np.testing.assert_array_equal(pickle.loads(content).cutouts(["good"])[0].rgba, catalog.cutouts(["good"])[0].rgba)


def test_cutouts_of_an_unknown_id_and_of_a_changed_file_are_errors(folder: Path) -> None:
    catalog = load(folder, "")
    with pytest.raises(ValueError, match="'other'"):
        catalog.cutouts(["other"])
    (folder / "images" / "good.png").unlink()
    with pytest.raises(CatalogError, match="'good' changed"):
        catalog.cutouts(["good"])


def test_texts_are_read_without_a_look_at_the_images(folder: Path):
    rows = "gone,Gone,Discs,Round,nowhere.png\nsame,One,,,a.png\nsame,Two,,,b.png\nempty,,,,images/good.png\n"
    texts = load_texts(write(folder, HEADER + GOOD + rows))
    assert list(texts) == ["good", "gone", "same"]
    assert (texts["gone"].title, texts["same"].title) == ("Gone", "One")
    with pytest.raises(CatalogError, match="no usable product; 1 row rejected: 1 title_empty"):
        load_texts(write(folder, HEADER + "empty,,,,images/good.png\n"))
