"""The kind of a product, with which a prompt's phrases are crossed: its category, or the head word of its title where it has none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caig_rl.prompt_model.phrases import words
from caig_rl.types import Product

NO_CATEGORY = frozenset({"", "unknown"})
"""Folded categories that say nothing of a product."""
OTHER = "other"
"""Kind of a product without a category, whose title shares no word with other titles."""
MIN_SHARED_TITLES = 3
"""A title's word is a kind only where at least this many products share it: a kind seen once has nothing to learn from."""
MAX_KINDS_OF_ANY_PRODUCT = 64
"""The commonest kinds stand for the whole catalog, so that the cost of "any product" is bounded in large catalogs."""

_AFTER_THE_HEAD = re.compile(r"[,;:(\[|/–—]|\s-\s|\b(?:for|with|in|of|by|from)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProductKinds:
    """What a catalog says of the kinds of its products. A pure function of the catalog: every process computes the same."""

    head_words: frozenset[str]
    """Title words that are kinds, for products without a category."""
    shares: Mapping[str, float]
    """Kind -> share of the catalog's products, at most `MAX_KINDS_OF_ANY_PRODUCT` kinds, the shares adding up to 1. Commonest first."""

    @classmethod
    def of(cls, products: Sequence[Product]) -> ProductKinds:
        """The kinds of a catalog. Raises ValueError for one without products."""
        if not products:
            raise ValueError("a catalog without products has no kinds")
        without = [product for product in products if _folded(product.category) in NO_CATEGORY]
        counts = Counter(word for product in without for word in set(words(product.title)))
        heads = frozenset(word for word, count in counts.items() if count >= MIN_SHARED_TITLES)
        return cls(heads, _shares(_kind(product, heads) for product in products))

    def kind(self, product: Product) -> str:
        """The product's folded category, else the last shared word of its title's head, else `OTHER`."""
        return _kind(product, self.head_words)


def _kind(product: Product, head_words: frozenset[str]) -> str:
    category = _folded(product.category)
    if category not in NO_CATEGORY:
        return category
    head, *_ = _AFTER_THE_HEAD.split(product.title, maxsplit=1)
    candidates = words(head)[::-1] + words(product.title)[::-1]
    return next((word for word in candidates if word in head_words), OTHER)


def _shares(kinds: Iterable[str]) -> Mapping[str, float]:
    ordered = sorted(Counter(kinds).items(), key=lambda item: (-item[1], item[0]))[:MAX_KINDS_OF_ANY_PRODUCT]
    total = sum(count for _, count in ordered)
    return {kind: count / total for kind, count in ordered}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
