"""The words and phrases of a text, in folded case: what a prompt is made of, for a linear model."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

MAX_PART_WORDS = 4
"""A part between commas counts as a phrase of its own up to this many words; longer ones hardly ever come back."""

_CHINESE_OR_JAPANESE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# These scripts put no space between words: each sign is a word, and two neighbours are a two-word phrase.
_WORD = re.compile(rf"[{_CHINESE_OR_JAPANESE}]|[^\W_{_CHINESE_OR_JAPANESE}]+(?:['’-][^\W_{_CHINESE_OR_JAPANESE}]+)*")
_BETWEEN_PARTS = re.compile(r"[,.;:!?()\n、。，；：！？]")


def words(text: str) -> list[str]:
    """The words of a text in order, in folded case and compatibility form; punctuation is left out."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def phrases(text: str) -> list[str]:
    """A text's words, its two-word phrases and its short parts between commas, each once, sorted.

    A two-word phrase does not reach over a comma or a full stop.
    """
    found: set[str] = set()
    for part in _BETWEEN_PARTS.split(text):
        spoken = words(part)
        found.update(spoken)
        found.update(" ".join(pair) for pair in pairwise(spoken))
        if 2 < len(spoken) <= MAX_PART_WORDS:
            found.add(" ".join(spoken))
    return sorted(found)
