"""Procedural products: a cut-out with its own alpha, and a title a merchant could have written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice

import cv2
import numpy as np

from caig_rl.types import Cutout, ImageArray, Product, Rejected
from caig_rl.world.silhouettes import CANVAS, PAINTERS, Colour, Pen

PRODUCT_SIZE = 256
"""Side of a drawn product in pixels."""

CATEGORIES = tuple(PAINTERS)

_COLOURS: dict[str, Colour] = {
    "crimson": (190, 30, 50),
    "coral": (245, 120, 95),
    "amber": (235, 165, 40),
    "olive": (122, 128, 50),
    "emerald": (20, 140, 90),
    "teal": (20, 130, 140),
    "navy": (30, 45, 105),
    "sky": (105, 175, 230),
    "violet": (120, 70, 180),
    "rose": (232, 130, 160),
    "ivory": (236, 228, 208),
    "charcoal": (58, 58, 64),
    "white": (244, 244, 246),
    "chestnut": (128, 74, 44),
}
_ADJECTIVES = ("classic", "slim", "urban", "nordic", "vintage", "everyday", "signature", "handmade", "light", "bold")
_SPLIT_OFFSET = {"train": 0, "eval": 1_000_000, "pretrain": 2_000_000, "reward": 3_000_000, "guard": 4_000_000}


def unseen_categories(seed: int, num: int) -> tuple[str, ...]:
    """The `num` categories that the world `seed` keeps from training; those of a smaller number are among those of a larger.

    Raises ValueError where fewer than two categories are left: a product could then not be told from one of another category.
    """
    if not 0 <= num <= len(CATEGORIES) - 2:
        raise ValueError(f"{num} of the world's {len(CATEGORIES)} categories cannot be kept from training; 0 to {len(CATEGORIES) - 2} can")
    order = np.random.default_rng((seed, 6)).permutation(len(CATEGORIES))
    return tuple(CATEGORIES[int(index)] for index in order[:num])


def _draw(category: str, main: Colour, accent: Colour, stretch: float) -> ImageArray:
    """(256, 256, 4), shaded from the left, at most 10 % wider or narrower than drawn."""
    pen = Pen(main, accent)
    PAINTERS[category](pen)
    xx = np.linspace(-1, 1, CANVAS, dtype=np.float32)
    shade = (1.06 - 0.3 * (xx - -0.35) ** 2)[None, :, None]
    shaded = np.clip(pen.rgb * shade + 16 * np.exp(-(((xx + 0.3) / 0.12) ** 2))[None, :, None], 0, 255).astype(np.uint8)
    rgba = np.dstack([shaded, pen.alpha])
    matrix = np.array([[stretch, 0, CANVAS * (1 - stretch) / 2], [0, 1, 0]], np.float32)
    warped = cv2.warpAffine(rgba, matrix, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR)
    small: ImageArray = cv2.resize(warped, (PRODUCT_SIZE, PRODUCT_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small


@dataclass(frozen=True, slots=True)
class _Traits:
    category: str
    main: Colour
    accent: Colour
    stretch: float
    title: str
    description: str


def _traits(seed: int, number: int) -> _Traits:
    rng = np.random.default_rng((seed, 7, number))
    category = CATEGORIES[number % len(CATEGORIES)]
    main_name, accent_name = (str(name) for name in rng.choice(list(_COLOURS), 2, replace=False))
    main, accent = (_jittered(_COLOURS[name], rng) for name in (main_name, accent_name))
    title = f"{rng.choice(_ADJECTIVES)} {main_name} {category}"
    description = f"{main_name.capitalize()} {category} with {accent_name} details."
    return _Traits(category, main, accent, float(rng.uniform(0.9, 1.1)), title, description)


def _jittered(colour: Colour, rng: np.random.Generator) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-14, 15, 3), 0, 255)
    return int(red), int(green), int(blue)


def world_product(seed: int, number: int) -> Product:
    """Product `number` of the world `seed`, in words. Categories take turns; colours, proportions and title vary."""
    traits = _traits(seed, number)
    return Product(f"w{seed}-{number:07d}", traits.title, traits.category, traits.description, f"click world, seed {seed}, number {number}")


def world_cutout(seed: int, number: int) -> Cutout:
    """The same product in pixels, cropped to itself with a margin of two pixels."""
    traits = _traits(seed, number)
    rgba = _draw(traits.category, traits.main, traits.accent, traits.stretch)
    ys, xs = np.nonzero(rgba[..., 3])
    cropped = rgba[max(ys.min() - 2, 0) : ys.max() + 3, max(xs.min() - 2, 0) : xs.max() + 3]
    return Cutout(np.ascontiguousarray(cropped), 1.0, "alpha")


@dataclass
class WorldProducts:
    """A `ProductSource` of procedural products. The splits never share a product."""

    seed: int
    num_products: int
    split: str = "train"
    """"train", "eval", "pretrain", "reward" (whose clicks the embedded reward model learns from) or "guard" (the guard)."""
    without: Collection[str] = ()
    """Categories that no product is of: their numbers are passed over."""
    flagged: Collection[str] = ()
    """Categories that training does not see: their products say so (`Product.unseen_category`)."""
    products: Sequence[Product] = field(init=False)
    rejected: Sequence[Rejected] = ()

    def __post_init__(self) -> None:
        if self.split not in _SPLIT_OFFSET:
            raise ValueError(f"split {self.split!r} is not one of {', '.join(_SPLIT_OFFSET)}")
        self.products = tuple(self._product(number) for number in islice(self._numbers(), self.num_products))

    def _numbers(self) -> Iterator[int]:
        allowed = [category not in self.without for category in CATEGORIES]
        return (number for number in count(_SPLIT_OFFSET[self.split]) if allowed[number % len(CATEGORIES)])

    def _product(self, number: int) -> Product:
        product = world_product(self.seed, number)
        return replace(product, unseen_category=True) if product.category in self.flagged else product

    def cutouts(self, product_ids: Sequence[str]) -> list[Cutout]:
        """Draw these products again."""
        return [world_cutout(self.seed, int(product_id.rsplit("-", 1)[1])) for product_id in product_ids]
