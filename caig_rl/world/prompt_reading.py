"""Reads a prompt as the world's renderer was taught to: which attributes it names, and whether it says anything else."""

from __future__ import annotations

import re
from collections import Counter

from caig_rl.types import PromptCheck
from caig_rl.world.suitability import TRAP_WALL
from caig_rl.world.vocabulary import ATTRIBUTES, TEMPLATES, WALLS

_PLACES = {phrase: name for name, phrases in ATTRIBUTES.items() for phrase in phrases}
_BETWEEN = re.compile(r"[\s,]+")
_PHRASE = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(map(re.escape, _PLACES), key=len, reverse=True))})(?![\w-])")
_GLUE = frozenset(word for template in TEMPLATES for word in _BETWEEN.split(re.sub(r"\{\w+\}", " ", template)) if word)
"""The words of the templates themselves: "on", "behind", "a", "scene" ... No template has one of them twice."""


def read_prompt(text: str) -> PromptCheck:
    """A well-formed prompt names each attribute exactly once, by a known phrase, with nothing between but the templates' words, each at
    most once. A prompt is in the trap where it names the neon city, whatever that is worth in this world."""
    spoken = " ".join(text.lower().split())
    named = _PHRASE.findall(spoken)
    rest = Counter(word for word in _BETWEEN.split(_PHRASE.sub(" ", spoken)) if word)
    found: dict[str, list[str]] = {name: [] for name in ATTRIBUTES}
    for phrase in named:
        found[_PLACES[phrase]].append(phrase)
    attributes = {name: phrases[0] if len(phrases) == 1 else None for name, phrases in found.items()}
    is_glued = all(word in _GLUE and count == 1 for word, count in rest.items())
    return PromptCheck(
        malformed=None in attributes.values() or not is_glued,
        trap=WALLS[TRAP_WALL] in found["wall"],
        attributes=tuple(attributes.values()),
        background=attributes["wall"],
    )
