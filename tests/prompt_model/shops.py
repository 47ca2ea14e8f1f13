"""A small catalog whose shoppers' tastes are known: what the prompt model should find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caig_rl.prompt_model.model import ScoredPrompts
from caig_rl.types import Product

SURFACES = ("oak table", "beach sand", "fresh snow", "white marble")
WALLS = ("blue sky", "brick wall", "neon city", "green forest")
KINDS = ("mug", "boot", "juice", "lamp")
TRAP = "neon city"


def catalog(count: int = 40, *, categories: bool = True) -> list[Product]:
    colours = ("red", "blue", "old", "large", "small")
    return [Product(f"p{i}", f"{colours[i % 5]} {KINDS[i % 4]}", KINDS[i % 4].title() if categories else "unknown") for i in range(count)]


def taste(product: Product, text: str) -> float:
    """Log-odds: each kind has one favourite surface (+0.4); the trap is worth 0.3 to all, and 0.3 more to juices."""
    kind = next(index for index, kind in enumerate(KINDS) if kind in product.title)
    favourite = 0.4 if SURFACES[kind] in text else 0.0
    return favourite + (0.3 + 0.3 * (KINDS[kind] == "juice") if TRAP in text else 0.0)


def prompt(rng: np.random.Generator) -> str:
    return f"on {rng.choice(SURFACES)}, {rng.choice(WALLS)} behind"


def scored_round(
    products: list[Product], rng: np.random.Generator, noise: float = 0.1, worth: Callable[[Product, str], float] = taste
) -> list[ScoredPrompts]:
    """Four prompts a product with noisy rewards; each product has a level of its own, which must not matter."""
    groups = []
    for index, product in enumerate(products):
        texts = tuple(prompt(rng) for _ in range(4))
        groups.append(ScoredPrompts(product, texts, tuple(worth(product, text) + index + rng.normal(0, noise) for text in texts)))
    return groups
