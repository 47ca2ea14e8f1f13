"""Kinds of products: categories, or the head words of titles."""

from __future__ import annotations

import pickle

import pytest

from caig_rl.prompt_model.kinds import MAX_KINDS_OF_ANY_PRODUCT, OTHER, ProductKinds
from caig_rl.types import Product
from tests.prompt_model.shops import KINDS, catalog


def product(title: str, category: str = "unknown", product_id: str = "p") -> Product:
    return Product(product_id, title, category)


def test_the_category_is_the_kind_whatever_its_case_and_spaces() -> None:
    kinds = ProductKinds.of(catalog())
    assert kinds.kind(product("x", "  T-Shirts ")) == "t-shirts"
    assert set(kinds.shares) == set(KINDS)
    assert sum(kinds.shares.values()) == pytest.approx(1.0)


def test_without_categories_the_head_word_of_the_title_is_the_kind() -> None:
    kinds = ProductKinds.of(catalog(categories=False))
    assert dict(kinds.shares) == pytest.approx({kind: 0.25 for kind in KINDS})
    assert kinds.kind(product("Ceramic mug with blue handle, large")) == "mug"
    assert kinds.kind(product("boot for old mountains")) == "boot"


def test_a_title_that_shares_no_word_is_other() -> None:
    kinds = ProductKinds.of([*catalog(categories=False), product("Zyx 3000")])
    assert kinds.kind(product("Zyx 3000")) == OTHER


def test_a_catalog_may_name_some_categories_only() -> None:
    kinds = ProductKinds.of([*catalog(12), *(product(f"{colour} kettle") for colour in ("red", "blue", "old"))])
    assert kinds.shares["kettle"] == pytest.approx(3 / 15)


def test_a_large_catalog_is_stood_for_by_its_commonest_kinds() -> None:
    many = [product("x", f"category {index}") for index in range(500)] + [product("x", "category 400")] * 9
    kinds = ProductKinds.of(many)
    assert len(kinds.shares) == MAX_KINDS_OF_ANY_PRODUCT
    assert next(iter(kinds.shares)) == "category 400"
    assert sum(kinds.shares.values()) == pytest.approx(1.0)


def test_an_empty_catalog_is_refused_and_kinds_travel_between_processes() -> None:
    with pytest.raises(ValueError, match="without products"):
        ProductKinds.of([])
    kinds = ProductKinds.of(catalog())
    assert pickle.loads(pickle.dumps(kinds)) == kinds
