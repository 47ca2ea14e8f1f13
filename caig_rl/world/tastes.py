"""The shoppers' hidden tastes. Frozen before the first training run; `tests/world` holds what they promise.

All numbers are log-odds of a click. Why these:
- suitable surfaces and walls lie in +0.02..+0.34 and the others in -0.26..-0.02, so that relevance pays on average (a
  relevant scene is worth about 0.3 a part more) but which relevant scene pays most must be learned from clicks;
- the neon city is worth `TRAP_VALUE` for any product and outshines all else in the scene: above the median relevant scene,
  below the best relevant one in every category, so that a learner that ignores the product settles there;
- segments differ by `SEGMENT_SPREAD`: enough to matter, not enough to turn the order of the best scenes;
- where the trap is worth more to some categories than to others ("varied"), `TRAP_SPREAD` takes it from well below the median relevant
  scene to about the best one, as far as CTRs below 6 % allow. That is twice as far as tastes for suitable values of an attribute go, so
  that a model of what a background is worth to any product misses what the trap is worth to most. The values are evenly spaced: every
  world has the same spread, and the mean is that of one value for all;
- without a trap, neon city and gold confetti are worth 0: no taste for or against them, as for nothing in particular;
- base rates around 1.4 % keep the CTRs between 0.5 % and 6 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from caig_rl.world.suitability import SUITABLE, TRAP_PROP, TRAP_WALL
from caig_rl.world.vocabulary import ATTRIBUTES

Trap = bool | Literal["varied"]
"""True: worth the same to every category. False: there is none. "varied": worth more to some categories than to others."""

SEGMENTS = ("bargain hunters", "style seekers", "gift givers")
SEGMENT_SHARES = (0.45, 0.35, 0.20)
SEGMENT_SPREAD = 0.06
TRAP_VALUE = 0.68
TRAP_SPREAD = 0.30
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
    trap_values: Table | None
    """(categories + 1,) worth of a neon city, which takes the place of the scene's; None where there is no trap."""

    @staticmethod
    def draw(seed: int, trap: Trap = True) -> Tastes:
        """The tastes of the world `seed`. All but the trap is the same whatever `trap` says."""
        rng = np.random.default_rng((seed, 1))
        tables = {name: _table(name, len(values), rng) for name, values in ATTRIBUTES.items()}
        if trap is False:
            # As drawn, less what confetti is worth to everyone; segments differ about it as about any prop.
            tables["prop"][:, :, TRAP_PROP] -= TRAP_PROP_VALUE
        return Tastes(tables, _trap_values(seed, trap))

    def utility(self, category: int, seen: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Worth of a scene to each segment, (segments,), from the probability of each value as the shoppers' eyes see it."""
        parts = {name: self.tables[name][:, category] @ probabilities for name, probabilities in seen.items()}
        scene = parts["surface"] + parts["wall"] + parts["prop"]
        if self.trap_values is not None:
            neon = seen["wall"][TRAP_WALL]
            scene = (1 - neon) * scene + neon * self.trap_values[category]
        total: npt.NDArray[np.float64] = scene + parts["light"] + parts["palette"]
        return total


def _trap_values(seed: int, trap: Trap) -> Table | None:
    if trap is False:
        return None
    values = np.full(len(SUITABLE) + 1, TRAP_VALUE)
    if trap == "varied":
        # The neutral shopper, last, keeps the mean.
        values[:-1] += np.random.default_rng((seed, 5)).permutation(np.linspace(-TRAP_SPREAD, TRAP_SPREAD, len(SUITABLE)))
    return values


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
