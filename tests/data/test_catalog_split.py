"""Which products are held out: known answers, and that growth, order and near duplicates do not disturb them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caig_rl.config.schema import CatalogConfig
from caig_rl.data.catalog import FileCatalog, load_catalog
from caig_rl.data.catalog_split import held_out_ids, num_held_out, split_catalog, split_words
from caig_rl.data.clicks.splits import TRAIN, VALIDATION, split_of
from caig_rl.errors import CatalogError
from caig_rl.types import Product, Rejected

OF_SIXTY = {"sku-25", "sku-32", "sku-33", "sku-36", "sku-38"}
"""Held out of sku-0 to sku-59 at a share of 0.1."""


def things(numbers: Sequence[int]) -> list[Product]:
    return [Product(f"sku-{number}", f"thing {number}", "mugs") for number in numbers]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of which no two have the same bytes."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(300):
        (folder / f"{number}.png").write_text(f"picture {number}")
    return [folder / f"{number}.png" for number in range(300)]


def own_photos(products: Sequence[Product], photos: Sequence[Path]) -> dict[str, Path]:
    return {product.product_id: photos[int(product.product_id.removeprefix("sku-"))] for product in products}


def catalog_of(num: int, photos: Sequence[Path]) -> FileCatalog:
    products = things(range(num))
    rejected = (Rejected("products.csv row 9", "image_missing", "no image"),)
    return FileCatalog(tuple(products), rejected, own_photos(products, photos), 1, 1)


def ids(catalog: FileCatalog) -> list[str]:
    return [product.product_id for product in catalog.products]


def test_the_sides_are_those_they_have_always_been(photos: list[Path]) -> None:
    products = things(range(60))
    assert held_out_ids(products, own_photos(products, photos), 0.1) == OF_SIXTY


def test_a_catalog_that_grows_or_is_reordered_moves_no_product_that_was_there(photos: list[Path]) -> None:
    grown = things(range(300))[::-1]
    held_out = held_out_ids(grown, own_photos(grown, photos), 0.1)
    assert held_out & {f"sku-{number}" for number in range(60)} == OF_SIXTY
    assert len(held_out) == 35


def test_a_larger_share_holds_out_the_same_products_and_more(photos: list[Path]) -> None:
    products = things(range(60))
    images = own_photos(products, photos)
    assert held_out_ids(products, images, 0.3) > OF_SIXTY


def test_variants_that_share_a_picture_or_their_words_stay_together_through_others(photos: list[Path]) -> None:
    """sku-25 is held out, and brings three that would be trained on: by its words, by its picture, and by the words of the latter."""
    products = [
        *things(range(20, 60)),
        Product("sku-100", " Thing  25", "MUGS"),
        Product("sku-101", "the same photo", "cups"),
        Product("sku-102", "The same photo", "cups"),
        Product("sku-103", "thing 25", "cups"),
    ]
    images = {**own_photos(products, photos), "sku-101": photos[25]}
    assert held_out_ids(products, images, 0.1) - OF_SIXTY == {"sku-100", "sku-101", "sku-102"}


def test_a_copy_of_a_picture_under_another_name_is_the_same_picture(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes(photos[25].read_bytes())
    (tmp_path / "same size.png").write_bytes(photos[25].read_bytes()[::-1])
    products = [*things([25, 26]), Product("sku-100", "a copy", "mugs"), Product("sku-101", "another", "mugs")]
    images = {**own_photos(products, photos), "sku-100": tmp_path / "copy.png", "sku-101": tmp_path / "same size.png"}
    assert held_out_ids(products, images, 0.1) == {"sku-25", "sku-100"}


def test_a_variant_with_a_later_id_moves_nobody(photos: list[Path]) -> None:
    """sku-7 is trained on, sku-25 is held out; whichever comes later joins the other."""
    early, late = Product("sku-7", "one", "mugs"), Product("sku-25", "one", "mugs")
    images = {"sku-7": photos[7], "sku-25": photos[25]}
    assert held_out_ids([late], images, 0.1) == {"sku-25"} and held_out_ids([early], images, 0.1) == set()
    assert held_out_ids([early, late], images, 0.1) == held_out_ids([late, early], images, 0.1) == set()


def test_rows_without_an_id_go_by_their_words_and_not_by_their_number(photos: list[Path]) -> None:
    def held_out_titles(order: Sequence[int]) -> set[str]:
        rows = [Product(f"row-{place}", f"thing {number}", "mugs") for place, number in enumerate(order)]
        images = {row.product_id: photos[number] for row, number in zip(rows, order, strict=True)}
        names = held_out_ids(rows, images, 0.2)
        return {row.title for row in rows if row.product_id in names}

    assert held_out_titles(range(60)) == held_out_titles(range(59, -1, -1)) != set()


@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), share=st.floats(0.05, 0.95))
def test_no_picture_and_no_words_are_on_both_sides(rows: list[tuple[int, int]], share: float, photos: list[Path]) -> None:
    products = [Product(f"p{number}", f"title {words}", "mugs") for number, (words, _) in enumerate(rows)]
    images = {product.product_id: photos[picture] for product, (_, picture) in zip(products, rows, strict=True)}
    held_out = held_out_ids(products, images, share)
    for side in (0, 1):
        ours, theirs = ({row[side] for number, row in enumerate(rows) if (f"p{number}" in held_out) is where} for where in (True, False))
        assert not ours & theirs


def test_both_parts_make_up_the_catalog_and_know_no_picture_of_the_other(photos: list[Path]) -> None:
    catalog = catalog_of(60, photos)
    train, held_out = split_catalog(catalog, None)
    assert set(ids(held_out)) == OF_SIXTY and [one for one in ids(catalog) if one not in OF_SIXTY] == ids(train)
    assert train.images.keys() | held_out.images.keys() == catalog.images.keys() and not train.images.keys() & held_out.images.keys()
    assert train.rejected == catalog.rejected
    with pytest.raises(ValueError, match="no product 'sku-25'"):
        train.cutouts(["sku-25"])


def test_what_is_trained_on_still_has_products_to_validate_pretraining_by(photos: list[Path]) -> None:
    train, _ = split_catalog(catalog_of(300, photos), None)
    assert {split_of(name, 0, 0.1, 0.0) for name in ids(train)} == {TRAIN, VALIDATION}


@pytest.mark.parametrize(("num", "share"), [(49, None), (60, 0.0)])
def test_a_small_catalog_and_a_share_of_zero_hold_out_nothing(num: int, share: float | None, photos: list[Path]) -> None:
    catalog = catalog_of(num, photos)
    assert split_catalog(catalog, share) == (catalog, catalog)


def test_a_number_holds_out_products_of_a_catalog_of_any_size(photos: list[Path]) -> None:
    train, held_out = split_catalog(catalog_of(6, photos), 0.5)
    assert len(ids(train)) + len(ids(held_out)) == 6 and num_held_out(train, held_out) == len(ids(held_out)) > 0


@pytest.mark.parametrize(("num", "share", "count"), [(3, 0.01, 0), (1, 0.99, 1)])
def test_a_share_that_leaves_a_side_empty_is_refused(num: int, share: float, count: int, photos: list[Path]) -> None:
    with pytest.raises(CatalogError, match=rf"catalog\.heldout_share={share} holds out {count} of {num} products.* or 0 to hold out none"):
        split_catalog(catalog_of(num, photos), share)


def test_left_to_itself_a_catalog_of_one_family_holds_out_nothing(photos: list[Path]) -> None:
    for first, is_held_out in ((25, True), (26, False)):
        products = tuple(Product(f"sku-{number}", "a mug", "mugs") for number in range(first, 100))
        assert bool(held_out_ids(products, own_photos(products, photos), 0.1)) is is_held_out
        catalog = FileCatalog(products, (), own_photos(products, photos), 1, 1)
        assert split_catalog(catalog, None) == (catalog, catalog)


def test_a_person_is_told_how_many_are_held_out_or_that_no_number_is_honest(photos: list[Path]) -> None:
    catalog = catalog_of(60, photos)
    assert split_words(*split_catalog(catalog, None)).startswith("5 of 60 products are held out: none of them is trained on")
    assert "measures on products that training has seen" in split_words(*split_catalog(catalog, 0.0))


def test_the_real_catalog_holds_out_15_of_151_and_no_shirt_is_seen_from_behind(shared_data: Path) -> None:
    train, held_out = split_catalog(load_catalog(CatalogConfig(path=str(shared_data / "catalog" / "products.csv")), log=False), None)
    assert (len(ids(train)), len(ids(held_out)), len(train.rejected)) == (136, 15, 1)
    assert {"saleor-ascii-shirt-front", "saleor-ascii-shirt-back"} <= set(ids(held_out))
    words = [{(one.title, one.category) for one in part.products} for part in (train, held_out)]
    assert not words[0] & words[1]
