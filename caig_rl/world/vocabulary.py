"""What a scene is made of, and the words for it. A scene is five choices; a caption names some or all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SURFACES = ("oak table", "white marble", "beach sand", "green grass", "black slate", "pink silk", "blue tiles", "fresh snow")
WALLS = ("blue sky", "dark studio", "warm sunset", "white wall", "green forest", "neon city", "brick wall", "grey mountains")
PROPS = ("no props", "autumn leaves", "snowflakes", "red roses", "gold confetti", "soft bokeh", "palm leaves", "blue ribbons")
LIGHTS = ("soft light", "light from the left", "light from the right", "spotlight")
PALETTES = ("natural colours", "warm tones", "cool tones")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "surface": SURFACES,
    "wall": WALLS,
    "prop": PROPS,
    "light": LIGHTS,
    "palette": PALETTES,
}
"""Attribute -> its values, in the order of the eyes' output."""

TEMPLATES = (
    "on {surface}, {wall} behind, {prop}, {light}, {palette}",
    "{wall} behind, on {surface}, with {prop}, {light}, {palette}",
    "a scene of {surface} and {wall}, {prop}, {palette}, {light}",
    "{light}, {palette}, standing on {surface} before {wall}, {prop}",
)
"""Ways to say a scene. Every one names all five attributes."""


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """One scene: an index into each attribute's values."""

    surface: int
    wall: int
    prop: int
    light: int
    palette: int

    def values(self) -> dict[str, str]:
        """Attribute -> the words for its value."""
        return {name: words[getattr(self, name)] for name, words in ATTRIBUTES.items()}

    def indices(self) -> tuple[int, ...]:
        """The five indices, in the order of `ATTRIBUTES`."""
        return (self.surface, self.wall, self.prop, self.light, self.palette)


def draw_spec(rng: np.random.Generator) -> SceneSpec:
    """A scene with every attribute drawn uniformly."""
    return SceneSpec(*(int(rng.integers(len(words))) for words in ATTRIBUTES.values()))


def caption(spec: SceneSpec, template: int = 0) -> str:
    """The scene in words, by one of `TEMPLATES`."""
    return TEMPLATES[template].format(**spec.values())


def partial_caption(spec: SceneSpec, rng: np.random.Generator, keep: float = 0.9) -> str:
    """The scene in words, with each attribute named with probability `keep`, in the order of a random template."""
    parts = TEMPLATES[int(rng.integers(len(TEMPLATES)))].replace(" and ", ", ").replace(" before ", ", ").split(", ")
    kept = [part for part in parts if rng.random() < keep]
    return ", ".join(kept).format(**spec.values())


def named_attributes(text: str) -> dict[str, int]:
    """Attribute -> index of the value that `text` names. Attributes not named, or named twice with different values, are absent."""
    found: dict[str, int] = {}
    for name, words in ATTRIBUTES.items():
        hits = [index for index, word in enumerate(words) if word in text]
        if len(hits) == 1:
            found[name] = hits[0]
    return found
