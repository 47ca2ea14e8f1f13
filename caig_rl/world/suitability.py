"""What suits what: common sense about categories, shared by the relevance judge and by the words of pre-training.

It is not what shoppers click: their tastes (`tastes.py`) are hidden, and only lean this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caig_rl.types import Product
from caig_rl.world.vocabulary import ATTRIBUTES, PROPS, SURFACES, WALLS, SceneSpec, draw_spec

TRAP_WALL = WALLS.index("neon city")
TRAP_PROP = PROPS.index("gold confetti")


@dataclass(frozen=True, slots=True)
class Suitable:
    """Values that suit a category, by attribute, as indices into the vocabulary."""

    surface: tuple[int, ...]
    wall: tuple[int, ...]
    prop: tuple[int, ...]


def _suitable(surfaces: str, walls: str, props: str) -> Suitable:
    return Suitable(
        tuple(SURFACES.index(word) for word in surfaces.split(", ")),
        tuple(WALLS.index(word) for word in walls.split(", ")),
        tuple(PROPS.index(word) for word in props.split(", ")),
    )


SUITABLE: dict[str, Suitable] = {
    "mug": _suitable("oak table, white marble, blue tiles", "white wall, brick wall, green forest", "no props, autumn leaves, soft bokeh"),
    "juice": _suitable("beach sand, green grass, blue tiles", "blue sky, green forest, white wall", "no props, palm leaves, soft bokeh"),
    "perfume": _suitable("white marble, pink silk, black slate", "white wall, dark studio, warm sunset", "no props, red roses, soft bokeh"),
    "sneaker": _suitable(
        "green grass, black slate, blue tiles", "brick wall, blue sky, dark studio", "no props, autumn leaves, blue ribbons"
    ),
    "boot": _suitable(
        "fresh snow, green grass, oak table", "grey mountains, green forest, brick wall", "no props, autumn leaves, snowflakes"
    ),
    "handbag": _suitable(
        "white marble, pink silk, black slate", "white wall, brick wall, warm sunset", "no props, red roses, blue ribbons"
    ),
    "backpack": _suitable(
        "green grass, fresh snow, beach sand", "grey mountains, green forest, blue sky", "no props, autumn leaves, palm leaves"
    ),
    "lamp": _suitable("oak table, white marble, black slate", "dark studio, white wall, brick wall", "no props, soft bokeh, red roses"),
    "watch": _suitable(
        "black slate, white marble, oak table", "dark studio, grey mountains, white wall", "no props, soft bokeh, blue ribbons"
    ),
    "headphones": _suitable(
        "black slate, oak table, blue tiles", "dark studio, brick wall, white wall", "no props, soft bokeh, blue ribbons"
    ),
    "t-shirt": _suitable("beach sand, green grass, blue tiles", "blue sky, brick wall, warm sunset", "no props, palm leaves, blue ribbons"),
    "book": _suitable("oak table, green grass, pink silk", "green forest, white wall, warm sunset", "no props, autumn leaves, soft bokeh"),
    "candle": _suitable("oak table, pink silk, white marble", "dark studio, warm sunset, brick wall", "no props, red roses, soft bokeh"),
    "snowboard": _suitable(
        "fresh snow, black slate, blue tiles", "grey mountains, blue sky, warm sunset", "no props, snowflakes, blue ribbons"
    ),
}
"""Category -> what suits it. The trap (neon city, gold confetti) suits nothing."""

_ALIASES: dict[str, str] = {
    "juices": "juice",
    "sneakers": "sneaker",
    "footwear": "boot",
    "bags": "handbag",
    "t-shirts": "t-shirt",
    "polo shirts": "t-shirt",
    "sweatshirts": "t-shirt",
    "jackets": "boot",
    "trekking": "backpack",
    "climbing": "backpack",
    "cycling": "sneaker",
    "ski/boarding": "snowboard",
    "navigation": "watch",
    "audiobooks": "book",
    "homewares": "candle",
    "beanies": "boot",
    "scarfs": "boot",
    "sunglasses": "t-shirt",
    "accessories": "handbag",
    "gift cards": "perfume",
}


def world_category(category: str) -> str | None:
    """The world's category for a merchant's, or None: shoppers are neutral to categories they do not know."""
    name = category.strip().lower()
    if name in SUITABLE:
        return name
    return _ALIASES.get(name)


def sensible_spec(product: Product, rng: np.random.Generator, common_sense: float) -> SceneSpec:
    """A scene for `product`: each attribute is a suitable one with probability `common_sense`, else any."""
    spec = draw_spec(rng).indices()
    category = world_category(product.category)
    if category is None:
        return SceneSpec(*spec)
    chosen = list(spec)
    for index, name in enumerate(ATTRIBUTES):
        suitable = getattr(SUITABLE[category], name, ())
        if suitable and rng.random() < common_sense:
            chosen[index] = int(rng.choice(suitable))
    return SceneSpec(*chosen)
