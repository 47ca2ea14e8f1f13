"""The shoppers' hidden tastes. Frozen before the first training run; `tests/world` holds what they promise.

All numbers are log-odds of a click. Why these:
- suitable surfaces and walls lie in +0.02..+0.34 and the others in -0.26..-0.02, so that relevance pays on average (a
  relevant scene is worth about 0.3 a part more) but which relevant scene pays most must be learned from clicks;
- the neon city is worth `TRAP_VALUE` for any product and outshines all else in the scene: above the median relevant scene,
  below the best relevant one in every category, so that a learner that ignores the product settles there;
- segments differ by `SEGMENT_SPREAD`: enough to matter, not enough to turn the order of the best scenes;
- base rates around 1.4 % keep the CTRs between 0.5 % and 6 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caig_rl.world.suitability import SUITABLE, TRAP_PROP, TRAP_WALL
from caig_rl.world.vocabulary import ATTRIBUTES

SEGMENTS = ("bargain hunters", "style seekers", "gift givers")
SEGMENT_SHARES = (0.45, 0.35, 0.20)
SEGMENT_SPREAD = 0.06
TRAP_VALUE = 0.68
TRAP_PROP_VALUE = 0.10
BASE_LOG_ODDS = -4.25
BASE_SPREAD = 0.18
CONTRAST_VALUE = 0.12
CLUTTER_VALUE = -0.06

_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "surface": ((0.02, 0.34), (-0.26, -0.02)),
    "wall": ((0.02, 0.34), (-0.26, -0.02)),
    "prop": ((0.0, 0.20), (-0.18, -0.02)),
    "light": ((-0.06, 0.10), (-0.06, 0.10)),
    "palette": ((-0.05, 0.07), (-0.05, 0.07)),
}
"""Attribute -> range of suitable values, range of the others."""

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tastes:
    """Log-odds by category and value; index -1 of the first axis is the neutral shopper, for unknown categories."""

    tables: dict[str, Table]
    """Attribute -> (segments, categories + 1, values)."""

    @staticmethod
    def draw(seed: int) -> Tastes:
        """The tastes of the world `seed`."""
        rng = np.random.default_rng((seed, 1))
        tables = {name: _table(name, len(values), rng) for name, values in ATTRIBUTES.items()}
        return Tastes(tables)

    def utility(self, category: int, seen: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Worth of a scene to each segment, (segments,), from the probability of each value as the shoppers' eyes see it."""
        parts = {name: self.tables[name][:, category] @ probabilities for name, probabilities in seen.items()}
        neon = seen["wall"][TRAP_WALL]
        scene = (1 - neon) * (parts["surface"] + parts["wall"] + parts["prop"]) + neon * TRAP_VALUE
        total: npt.NDArray[np.float64] = scene + parts["light"] + parts["palette"]
        return total


def _table(name: str, num_values: int, rng: np.random.Generator) -> Table:
    good, bad = _RANGES[name]
    shared = np.zeros((len(SUITABLE) + 1, num_values))
    for row, suitable in enumerate(SUITABLE.values()):
        fits = getattr(suitable, name, ())
        for value in range(num_values):
            low, high = good if value in fits else bad
            shared[row, value] = rng.uniform(low, high)
        if fits:
            # Every category has one favourite at the top of the range, so that its best relevant scene beats the trap.
            shared[row, int(rng.choice(fits))] = good[1]
    if name == "wall":
        shared[:, TRAP_WALL] = 0.0
    if name == "prop":
        shared[:, TRAP_PROP] = TRAP_PROP_VALUE
    shared[-1] = shared[:-1].mean(axis=0)
    return shared[None] + rng.normal(0, SEGMENT_SPREAD, (len(SEGMENTS), 1, num_values))
