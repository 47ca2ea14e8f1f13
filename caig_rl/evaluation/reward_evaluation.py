"""How far a reward model can be trusted: on held-out pairs, against the noise of their labels, by category, and in how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from caig_rl.errors import ClickLogError
from caig_rl.statistics import Interval, wilson_interval

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
BINS = 10
"""Bins of the calibration curve, of equally many pairs."""
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """M held-out pairs and what the model said of them; all arrays are (M,)."""

    log_odds: FloatArray
    """That the first is clicked more, by the model."""
    label: FloatArray
    """1 where the first has the higher observed CTR, 0 where the second, NaN where they are equal."""
    order_probability: FloatArray
    """Posterior probability that the first's true CTR is the higher."""
    significant: BoolArray
    """|z| > 1.96."""
    products: Sequence[str]
    categories: Sequence[str]
    flips: BoolArray | None = None
    """Whether one order alone named the same side both ways round; None for a model that sees one creative at a time."""

    @property
    def labelled(self) -> BoolArray:
        """(M,) pairs whose labels have an order."""
        return ~np.isnan(self.label)

    @property
    def rightness(self) -> FloatArray:
        """(M,) 1 where the model has the label's order, 0 where the other, 0.5 where it is undecided; NaN without a label."""
        guess = np.where(self.log_odds == 0.0, 0.5, (self.log_odds > 0.0).astype(np.float64))
        return np.where(np.isnan(self.label), np.nan, 1.0 - np.abs(guess - self.label))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Pairwise accuracy on some pairs."""

    value: float
    interval: Interval
    """95 %, products resampled."""
    pairs: int
    ceiling: float
    """Mean posterior probability that the label is right: what knowing every true CTR would reach."""

    @property
    def reach(self) -> float:
        """How far of the way from a coin (0) to the ceiling (1) it comes; NaN where the labels are coins themselves."""
        return (self.value - 0.5) / (self.ceiling - 0.5) if self.ceiling > 0.5 else float("nan")


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pairs of like confidence."""

    confidence: float
    """Mean of the model's probability for the creative that it prefers."""
    accuracy: float
    interval: Interval
    pairs: int


@dataclass(frozen=True, slots=True)
class RewardEvaluation:
    """All of it."""

    all_pairs: Accuracy
    significant: Accuracy | None
    """None where no pair is."""
    by_category: dict[str, Accuracy]
    """The categories with the most pairs first."""
    calibration: tuple[CalibrationBin, ...]
    ece: float
    """Expected calibration error: mean over pairs of |confidence - accuracy| of their bin."""
    flip_rate: float | None
    """Share of pairs in which one order alone named the same side both ways round; None for a model that sees one creative at a time."""
    undecided: float
    """Share of pairs with log-odds 0."""

    def to_json(self) -> dict[str, object]:
        """As `reward_eval.json` holds it."""
        return asdict(self)


def evaluate_pairs(pairs: JudgedPairs, seed: int = 0) -> RewardEvaluation:
    """Measure a model on `pairs`. Raises ClickLogError where no pair has a label."""
    labelled = pairs.labelled
    if not labelled.any():
        raise ClickLogError(f"none of {len(labelled)} pairs has an order: in each, both creatives have the same observed CTR")
    categories = np.asarray(pairs.categories)
    names, counts = np.unique(categories[labelled], return_counts=True)
    significant = labelled & pairs.significant
    largest_first = [str(names[k]) for k in np.argsort(-counts, kind="stable")]
    bins = calibration_bins(expit(np.abs(pairs.log_odds[labelled])), pairs.rightness[labelled])
    return RewardEvaluation(
        all_pairs=_accuracy(pairs, labelled, seed),
        significant=_accuracy(pairs, significant, seed) if significant.any() else None,
        by_category={name: _accuracy(pairs, labelled & (categories == name), seed) for name in largest_first},
        calibration=bins,
        ece=expected_calibration_error(bins),
        flip_rate=None if pairs.flips is None else float(pairs.flips.mean()),
        undecided=float(np.mean(pairs.log_odds == 0.0)),
    )


def calibration_bins(confidence: FloatArray, rightness: FloatArray, bins: int = BINS) -> tuple[CalibrationBin, ...]:
    """(M,) confidences, 0.5 to 1, and rightness, 0 to 1, in at most `bins` bins of equally many pairs, the least confident first."""
    order = np.argsort(confidence, kind="stable")
    out = []
    for part in np.array_split(order, min(bins, len(order))):
        right = float(rightness[part].sum())
        interval = wilson_interval(round(right), len(part))
        out.append(CalibrationBin(float(confidence[part].mean()), right / len(part), interval, len(part)))
    return tuple(out)


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean over pairs of |confidence - accuracy| of their bin (Naeini et al., AAAI 2015)."""
    total = sum(one.pairs for one in bins)
    return sum(one.pairs * abs(one.confidence - one.accuracy) for one in bins) / total


def most_wrong(pairs: JudgedPairs, count: int) -> list[int]:
    """Numbers of the wrongly ordered pairs that the clicks contradict most: by -[q log p + (1 - q) log (1 - p)], the worst first."""
    q = pairs.order_probability
    loss = q * np.logaddexp(0.0, -pairs.log_odds) + (1.0 - q) * np.logaddexp(0.0, pairs.log_odds)
    wrong = np.flatnonzero(pairs.rightness == 0.0)
    return [int(index) for index in wrong[np.argsort(-loss[wrong], kind="stable")][:count]]


def agreement(one: FloatArray, other: FloatArray) -> float:
    """Share of pairs that two models (log-odds, (M,)) put in the same order; a pair that either leaves undecided counts half."""
    same = np.sign(one) * np.sign(other)
    return float(np.mean(0.5 + 0.5 * same))


def _accuracy(pairs: JudgedPairs, mask: BoolArray, seed: int) -> Accuracy:
    right, q, label = pairs.rightness[mask], pairs.order_probability[mask], pairs.label[mask]
    products = np.asarray(pairs.products)[mask]
    interval = clustered_interval(right, products, seed)
    return Accuracy(float(right.mean()), interval, int(mask.sum()), float(np.where(label == 1.0, q, 1.0 - q).mean()))


def clustered_interval(values: FloatArray, clusters: npt.NDArray[np.str_], seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """95 % percentile bootstrap of the mean of `values` (M,), whole clusters drawn with replacement: pairs of one product share creatives.

    One cluster alone tells nothing of the others: the interval is then 0 to 1.
    """
    names, index = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return Interval(0.0, 1.0)
    sums, sizes = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))
