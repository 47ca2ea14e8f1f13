"""A prompt for a product as a sparse row: its words and phrases, alone, crossed with the product's kind, and crossed with the segment of
shoppers where there are segments, hashed to a fixed width.

The hash is BLAKE2 with a fixed mixing step, so that rows are the same in every process and at every start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from scipy import sparse

from caig_rl.prompt_model.phrases import phrases, words
from caig_rl.segments import EVERYBODY, Shares

KeyArray = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]

WIDTH = 1 << 20
"""Columns of a row. At 10,000 distinct features one in a hundred shares its column with another."""
PHRASE_VALUE = 0.3
"""A word counts 1. A phrase of several words counts less: its effect is sought only where the effects of its words do not explain it."""
MAX_PLAIN_WORDS = 24
"""Longer prompts are scaled down, so that what a sentence may be worth has no larger prior variance than what a short prompt may be."""


@dataclass(frozen=True, slots=True)
class PromptFeatures:
    """The map from (kind of product, segment, prompt) to a row. It holds no state: nothing is learned here."""

    width: int = WIDTH

    def rows(self, kind: str, texts: Sequence[str], segment: str = "") -> sparse.csr_array:
        """(len(texts), width): each text's phrases, the same crossed with `kind`, and with `segment` unless it is empty."""
        return self.mixed_rows({kind: 1.0}, texts, {segment: 1.0} if segment else EVERYBODY)

    def mixed_rows(self, shares: Mapping[str, float], texts: Sequence[str], segments: Shares = EVERYBODY) -> sparse.csr_array:
        """(len(texts), width): the mean row over kinds that occur with `shares`, and over `segments`; both add up to 1.

        A linear model's value of such a row is the mean over kinds and segments of its values: the shared effects of the phrases and the
        means of their crossed ones.
        """
        crossed_with = [*(_key("kind", kind) for kind in shares), *(_key("segment", segment) for segment in segments)]
        others = _mixed(np.array(crossed_with, np.uint64))
        weights = np.array([1.0, *shares.values(), *segments.values()])
        columns, values = [], []
        for text in texts:
            keys, counts = _phrase_values(text)
            crossed = np.concatenate([_mixed(keys)[None], _mixed(keys[None] ^ others[:, None])])
            columns.append((crossed % np.uint64(self.width)).astype(np.int64).ravel())
            values.append(np.outer(weights, counts).ravel())
        return _csr(columns, values, self.width)


def _phrase_values(text: str) -> tuple[KeyArray, FloatArray]:
    """Keys of a text's phrases, and what each counts."""
    single, found = set(words(text)), phrases(text)
    keys = np.array([_key("phrase", phrase) for phrase in found], np.uint64)
    counts = np.array([1.0 if phrase in single else PHRASE_VALUE for phrase in found])
    return keys, counts * min(1.0, (MAX_PLAIN_WORDS / max(len(single), 1)) ** 0.5)


def _csr(columns: list[npt.NDArray[np.int64]], values: list[FloatArray], width: int) -> sparse.csr_array:
    pointers = np.concatenate([[0], np.cumsum([len(row) for row in columns])])
    flat = np.concatenate([*columns, np.empty(0, np.int64)]), np.concatenate([*values, np.empty(0)])
    rows = sparse.csr_array((flat[1], flat[0], pointers), shape=(len(columns), width))
    rows.sum_duplicates()
    return rows


def _key(namespace: str, text: str) -> int:
    """A 64-bit key of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=namespace.encode()).digest(), "little")


def _mixed(keys: KeyArray) -> KeyArray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): neighbouring keys land far apart. Products wrap at 64 bits."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
