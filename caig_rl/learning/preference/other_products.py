"""Finds a product that another one is not, for the product-centric negative, without looking at the whole catalog for each admission."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from caig_rl.prompt_model.phrases import words
from caig_rl.types import Product

TRIES = 64
"""Products drawn in search of a dissimilar title before there counts as being none."""
HARD_SAMPLE = 16
"""Products among which the most similar title is taken."""

_Places = npt.NDArray[np.int64]
_NOWHERE: _Places = np.empty(0, np.int64)


class OtherProducts:
    """The products of one catalog, in their fixed order, and where each category and each repeated title stands in it."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = list(products)
        self._by_category = _places([product.category for product in products])
        by_title = _places([product.title for product in products])
        self._by_title = {title: places for title, places in by_title.items() if len(places) > 1}

    def draw(self, product: Product, generator: np.random.Generator) -> Product | None:
        """A product of another category and other text, each as likely (catalogs repeat titles, and x~ = x teaches nothing).

        Where no product is of another category, as in a catalog without categories: one whose title shares no word. None where `TRIES`
        draws find no such title either.
        """
        excluded = self._excluded(product)
        num_left = len(self._products) - len(excluded)
        if num_left == 0:
            return self._of_dissimilar_title(product, generator)
        number = int(generator.integers(num_left))
        # `excluded[j] - j` products that are not excluded stand before the j-th that is.
        return self._products[number + int(np.searchsorted(excluded - np.arange(len(excluded)), number, side="right"))]

    def draw_similar(self, product: Product, generator: np.random.Generator) -> Product | None:
        """Of `HARD_SAMPLE` such draws, the product with the most similar title, the first of equals."""
        sample = [other for _ in range(HARD_SAMPLE) if (other := self.draw(product, generator)) is not None]
        return max(sample, key=lambda other: title_similarity(product.title, other.title), default=None)

    def _excluded(self, product: Product) -> _Places:
        """Rising places of the products of its category and of those with its text."""
        category = _folded(product.category)
        of_category, of_title = self._by_category.get(category, _NOWHERE), self._by_title.get(_folded(product.title), _NOWHERE)
        elsewhere = [int(place) for place in of_title if _folded(self._products[place].category) != category]
        return np.sort(np.append(of_category, elsewhere).astype(np.int64)) if elsewhere else of_category

    def _of_dissimilar_title(self, product: Product, generator: np.random.Generator) -> Product | None:
        own = set(words(product.title))
        for _ in range(TRIES):
            other = self._products[int(generator.integers(len(self._products)))]
            if other.product_id != product.product_id and own.isdisjoint(words(other.title)):
                return other
        return None


def title_similarity(one: str, other: str) -> float:
    """0 to 1: what share of the trigrams of letters that either title has, both have (Jaccard), in folded case."""
    ours, theirs = _trigrams(one), _trigrams(other)
    return len(ours & theirs) / len(ours | theirs)


def _trigrams(title: str) -> set[str]:
    padded = f"  {_folded(title)} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}


def _places(texts: Sequence[str]) -> dict[str, _Places]:
    """Where each folded text stands, rising."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        found[_folded(text)].append(place)
    return {text: np.array(places, np.int64) for text, places in found.items()}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
