"""How a product is found that another one is not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from caig_rl.learning.preference import other_products
from caig_rl.learning.preference.other_products import TRIES, OtherProducts, title_similarity
from caig_rl.types import Product

PRODUCTS = [Product(str(place), f"thing {place % 5}", "ab"[place % 2]) for place in range(20)]


def test_every_product_of_another_category_and_title_is_as_likely() -> None:
    """Thing 0 of category a: the ten things of category b, less the two thing 0 among them."""
    others, generator = OtherProducts(PRODUCTS), np.random.default_rng(0)
    counts = Counter(other.product_id for _ in range(4000) if (other := others.draw(PRODUCTS[0], generator)) is not None)
    assert set(counts) == {str(place) for place in range(1, 20, 2) if place % 5}
    assert min(counts.values()) > 400 and max(counts.values()) < 600


def test_a_draw_by_category_reads_no_title_but_those_that_repeat_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog of a hundred thousand is looked through once, not for each admission."""
    others, read = OtherProducts(PRODUCTS), list[str]()
    monkeypatch.setattr(other_products, "_folded", lambda text: read.append(text) or " ".join(text.split()).casefold())
    others.draw(PRODUCTS[0], np.random.default_rng(0))
    assert len(read) == 2 + 4, "its category and its title, and the categories of the four things 0"


def test_the_search_for_a_dissimilar_title_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(other_products, "words", lambda text: asked.append(text) or text.split())
    alike = OtherProducts([Product(str(place), f"thing {place}", "") for place in range(1000)])
    assert alike.draw(Product("0", "thing 0", ""), np.random.default_rng(0)) is None
    assert len(asked) == 1 + TRIES


def test_a_product_is_not_its_own_negative_though_its_title_has_no_word() -> None:
    signs = [Product("0", "!!", ""), Product("1", "??", "")]
    others, generator = OtherProducts(signs), np.random.default_rng(0)
    assert {str(others.draw(signs[0], generator)) for _ in range(20)} == {str(signs[1])}


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [("Red mug", "red  MUG", 1.0), ("mug", "lamp", 0.0), ("red mug", "red rug", 5 / 11), ("杯子", "杯子", 1.0)],
)
def test_titles_are_as_similar_as_the_share_of_their_trigrams(one: str, other: str, similarity: float) -> None:
    assert title_similarity(one, other) == title_similarity(other, one) == pytest.approx(similarity)
