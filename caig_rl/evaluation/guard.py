"""Versions compared by a guard, a reward model that nothing is learned from. Pure functions of scores by product.

A round's creatives were written by one version, so its mean score speaks for that version. The policy is optimised for the reward model,
which can be pleased without clicks. A second model of other clicks shows it, where it falls while the first does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.statistics import MeanDifference, mean_difference


@dataclass(frozen=True, slots=True)
class GuardedRound:
    """One round as both models saw it; both scored the same products, at least two."""

    version: int
    """Number of the version that wrote its creatives."""
    reward: Mapping[str, float]
    """Product id -> mean score of its creatives by the reward model, log-odds of a click."""
    guard: Mapping[str, float]
    """The same by the guard."""

    @property
    def guard_mean(self) -> float:
        """Mean over products."""
        return float(np.mean(list(self.guard.values())))


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """What the guard says after the newest of some rounds."""

    rounds: int
    best: GuardedRound
    """Of highest mean; the first of equals."""
    newest: GuardedRound
    fall: MeanDifference
    """The guard's mean of `best` less that of `newest`."""
    reward_fall: MeanDifference
    """The reward model's, of the same two rounds."""

    @property
    def turned(self) -> bool:
        """True where the guard has clearly fallen since its best round, and the reward has not: each by twice its standard error."""
        return self.fall.is_clear and not self.reward_fall.is_clear


def judge_versions(rounds: Sequence[GuardedRound]) -> GuardVerdict | None:
    """The verdict after the last of `rounds`, in order; None before the first."""
    if not rounds:
        return None
    best, newest = max(rounds, key=lambda one: one.guard_mean), rounds[-1]
    fall, reward_fall = mean_difference(best.guard, newest.guard), mean_difference(best.reward, newest.reward)
    return GuardVerdict(len(rounds), best, newest, fall, reward_fall)
