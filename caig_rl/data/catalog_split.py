"""Which products of a catalog are held out: never trained on, and what policies are measured on.

    identity   a product's id, or its category and title where the catalog gives it no id
    family     products that share a picture or category and title, whether directly or by way of others; they stay on one side
    side       a hash of the family's lowest identity, and nothing else: no seed, no order of rows, no size of the catalog

No quota for each category: it would move products whenever the category grows. The hash takes its share of each on average.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from caig_rl.data.catalog import FileCatalog
from caig_rl.data.clicks.splits import HELDOUT, split_of
from caig_rl.errors import CatalogError
from caig_rl.interfaces import ProductSource
from caig_rl.types import Product

DEFAULT_SHARE = 0.1
FEWEST_PRODUCTS = 50
"""A smaller catalog holds out no product unless it is told to."""
_FEWEST_HELD_OUT = 2
"""Left to itself, a catalog holds out as many at least: an interval needs two."""
_ROW_NUMBER = re.compile(r"row-\d+")
"""What a product is called whose row has no id: a place in the file, which the next export may give to another."""
_STREAM = "catalog:"
"""Parts the hash from that of the click log's splits and of pre-training's: what is left to train on must still spread over theirs."""


def split_catalog(catalog: FileCatalog, share: float | None) -> tuple[FileCatalog, FileCatalog]:
    """(products to train on, products to measure on): two parts of `catalog`, or twice the whole where no product is held out.

    `share` is `catalog.heldout_share`, at least 0 and below 1; None: `DEFAULT_SHARE` of a catalog of `FEWEST_PRODUCTS` or more.

    Raises:
        CatalogError: the share, where it is a number, leaves no product on one of the sides.
    """
    wanted = share
    if wanted is None:
        wanted = DEFAULT_SHARE if len(catalog.products) >= FEWEST_PRODUCTS else 0.0
    if wanted == 0.0:
        return catalog, catalog
    names = held_out_ids(catalog.products, catalog.images, wanted)
    num_held_out, num_trained = len(names), len(catalog.products) - len(names)
    if share is None and (num_held_out < _FEWEST_HELD_OUT or num_trained == 0):
        return catalog, catalog
    if num_held_out == 0 or num_trained == 0:
        raise CatalogError(
            f"catalog.heldout_share={share:g} holds out {num_held_out} of {len(catalog.products)} products, and both sides need one; "
            "give another share, or 0 to hold out none (products that share a picture, or category and title, stay together)"
        )
    return _part(catalog, lambda name: name not in names), _part(catalog, lambda name: name in names)


def held_out_ids(products: Iterable[Product], images: Mapping[str, Path], share: float) -> set[str]:
    """Ids of the products that are held out; `images`: product id -> its image."""
    return {
        product.product_id
        for family in _families(products, images)
        if split_of(_STREAM + min(map(_identity, family), key=_rank), 0, 0.0, share) == HELDOUT
        for product in family
    }


def num_held_out(source: ProductSource, evaluation: ProductSource) -> int:
    """Products of `evaluation`, where none of them is in `source`, which is trained on; else 0."""
    trained = {product.product_id for product in source.products}
    return 0 if any(product.product_id in trained for product in evaluation.products) else len(evaluation.products)


def split_words(source: ProductSource, evaluation: ProductSource) -> str:
    """How many products are held out, in a sentence for people; or that none is, and what follows."""
    count = num_held_out(source, evaluation)
    if not count:
        return (
            "no product is held out: the report measures on products that training has seen, and its lift says nothing about new ones "
            "(catalog.heldout_share sets some aside)"
        )
    return f"{count} of {len(source.products) + count} products are held out: none of them is trained on, and the report measures on them"


def _part(catalog: FileCatalog, is_in: Callable[[str], bool]) -> FileCatalog:
    images = {name: image for name, image in catalog.images.items() if is_in(name)}
    return replace(catalog, products=tuple(one for one in catalog.products if is_in(one.product_id)), images=images)


def _families(products: Iterable[Product], images: Mapping[str, Path]) -> list[list[Product]]:
    """The connected parts of the graph whose edges are the products, each between its picture and its text."""
    pictures, parents = _pictures(images), dict[str, str]()

    def root(node: str) -> str:
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    products = list(products)
    for product in products:
        parents[root(pictures[product.product_id])] = root(_text(product))
    families = defaultdict[str, list[Product]](list)
    for product in products:
        families[root(_text(product))].append(product)
    return list(families.values())


def _pictures(images: Mapping[str, Path]) -> dict[str, str]:
    """Product id -> a name of its picture: the same for the same file, and for files with the same bytes."""
    sizes = {path: path.stat().st_size for path in set(images.values())}
    alike = Counter(sizes.values())
    names = {path: str(path) if alike[size] == 1 else hashlib.sha256(path.read_bytes()).hexdigest() for path, size in sizes.items()}
    return {product_id: f"picture {names[path]}" for product_id, path in images.items()}


def _identity(product: Product) -> str:
    return _text(product) if _ROW_NUMBER.fullmatch(product.product_id) else product.product_id


def _rank(identity: str) -> tuple[int, str]:
    """Ids mostly count up: by this order sku-10 comes after sku-9, and a variant that is added later decides nothing."""
    return len(identity), identity


def _text(product: Product) -> str:
    return "\n".join(" ".join(text.split()).casefold() for text in (product.category, product.title))
