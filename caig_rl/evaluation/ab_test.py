"""An A/B test that may be looked at any day: sample ratio first, CTR clustered by visitor, intervals that hold at all times at once.

A visitor's impressions are not independent, so the visitor is the unit: CTR is a ratio of sums over visitors, its variance by the delta
method. Looking again and again at an ordinary interval finds a difference where there is none; these are asymptotic confidence sequences
(Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence sequences, 2021, theorem 2.2):
with n visitors and standard error se,

    difference +- se * sqrt( 2 (n rho^2 + 1) / (n rho^2) * log( sqrt(n rho^2 + 1) / alpha ) )
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from caig_rl.statistics import Interval

Verdict = Literal["broken", "too early", "undecided", "candidate better", "live better"]
RATIO_ALPHA = 0.001
"""A sample ratio less likely than this is no chance: the assignment or the log is broken, and the rest is not to be trusted."""
MIN_VISITORS, MIN_CLICKS = 100, 10
"""In each arm, before the normal approximation is relied on."""
TUNED_FOR = 5000
"""Visitors at which the interval is narrowest; it holds at any number."""


@dataclass(frozen=True, slots=True)
class Visitors:
    """One row a visitor."""

    tried: npt.NDArray[np.bool_]
    """(V,) in the candidate's arm."""
    share: npt.NDArray[np.float64]
    """(V,) probability with which the visitor was assigned to the candidate's arm."""
    impressions: npt.NDArray[np.float64]
    clicks: npt.NDArray[np.float64]

    def part(self, impressions: npt.NDArray[np.float64], clicks: npt.NDArray[np.float64]) -> Visitors:
        """The same visitors' impressions and clicks in one category; those without any are left out."""
        seen = impressions > 0
        return Visitors(self.tried[seen], self.share[seen], impressions[seen], clicks[seen])


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm's counts."""

    visitors: int
    impressions: int
    clicks: int

    @property
    def ctr(self) -> float:
        """Clicks over impressions; NaN without impressions."""
        return self.clicks / self.impressions if self.impressions else float("nan")


@dataclass(frozen=True, slots=True)
class Compared:
    """Candidate against live in one category, or overall."""

    live: Arm
    candidate: Arm
    difference: float
    """CTR of the candidate minus that of live; NaN where it is too early."""
    interval: Interval | None
    """Of the difference, valid at all times and for all categories together; None where it is too early."""
    p_value: float
    """Sequentially valid; by category after Holm's correction. 1 where it is too early."""


@dataclass(frozen=True, slots=True)
class AbResult:
    """What the log says of an experiment."""

    verdict: Verdict
    ratio_p_value: float
    """Of the sample-ratio check: how likely so uneven a split is by chance."""
    overall: Compared
    by_category: Mapping[str, Compared]


def evaluate_ab(visitors: Visitors, by_category: Mapping[str, Visitors], alpha: float = 0.05) -> AbResult:
    """Compare the arms, overall at level `alpha` and by category at `alpha` for all categories together."""
    ratio = sample_ratio_p_value(visitors)
    overall = compare(visitors, alpha)
    parts = {name: compare(part, alpha / max(1, len(by_category))) for name, part in by_category.items()}
    adjusted = holm([part.p_value for part in parts.values()])
    corrected = {
        name: Compared(part.live, part.candidate, part.difference, part.interval, p_value)
        for (name, part), p_value in zip(parts.items(), adjusted, strict=True)
    }
    return AbResult(_verdict(ratio, overall), ratio, overall, corrected)


def sample_ratio_p_value(visitors: Visitors) -> float:
    """Two-sided p-value of the number of visitors in the candidate's arm, each assigned with their own probability: valid at all times
    together, like the verdict, since it is looked at as often (normal approximation).

    1 where nothing was random: no visitors, or every probability 0 or 1 and met.
    """
    variance = float((visitors.share * (1.0 - visitors.share)).sum())
    surplus = float((visitors.tried - visitors.share).sum())
    if variance == 0.0:
        return 1.0 if abs(surplus) < 1e-9 else 0.0
    return _p_value(surplus / np.sqrt(variance), len(visitors.tried), rho_squared(RATIO_ALPHA))


def compare(visitors: Visitors, alpha: float) -> Compared:
    """The difference in CTR with its confidence sequence at level `alpha`."""
    arms = [_arm(visitors, ~visitors.tried), _arm(visitors, visitors.tried)]
    live, candidate = arms
    if any(arm.visitors < MIN_VISITORS or arm.clicks < MIN_CLICKS for arm in arms):
        return Compared(live, candidate, float("nan"), None, 1.0)
    number, rho2 = len(visitors.tried), rho_squared(alpha)
    error = np.sqrt(_variance(visitors, ~visitors.tried, live) + _variance(visitors, visitors.tried, candidate))
    difference = candidate.ctr - live.ctr
    half = float(error * np.sqrt(2.0 * (number * rho2 + 1.0) / (number * rho2) * np.log(np.sqrt(number * rho2 + 1.0) / alpha)))
    return Compared(live, candidate, difference, Interval(difference - half, difference + half), _p_value(difference / error, number, rho2))


def rho_squared(alpha: float, visitors: int = TUNED_FOR) -> float:
    """rho^2 that makes the sequence narrowest at this number of visitors (same paper, section 2.3)."""
    return float((-2.0 * np.log(alpha) + np.log(1.0 - 2.0 * np.log(alpha))) / visitors)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction, in the given order."""
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda one: p_values[one])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _p_value(z: float, number: int, rho2: float) -> float:
    """Smallest level at which the sequence excludes 0: the inverse of the mixture martingale behind it."""
    scale = number * rho2
    log_evidence = z * z * scale / (2.0 * (scale + 1.0)) - 0.5 * np.log(scale + 1.0)
    return float(min(1.0, np.exp(-log_evidence)))


def _arm(visitors: Visitors, members: npt.NDArray[np.bool_]) -> Arm:
    return Arm(int(members.sum()), int(visitors.impressions[members].sum()), int(visitors.clicks[members].sum()))


def _variance(visitors: Visitors, members: npt.NDArray[np.bool_], arm: Arm) -> float:
    """Delta-method variance of a ratio of sums over independent visitors."""
    residual = visitors.clicks[members] - arm.ctr * visitors.impressions[members]
    return float((residual**2).sum() / arm.impressions**2)


def _verdict(ratio_p_value: float, overall: Compared) -> Verdict:
    if ratio_p_value < RATIO_ALPHA:
        return "broken"
    if overall.interval is None:
        return "too early"
    if not overall.interval.excludes_zero:
        return "undecided"
    return "candidate better" if overall.difference > 0.0 else "live better"
