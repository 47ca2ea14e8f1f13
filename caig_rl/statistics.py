"""Statistics of click rates and of rankings. Pure functions of arrays; every interval is two-sided at 95 % unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval, in the units of the quantity it is about."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where the sign of the quantity is settled at the interval's confidence."""
        return self.low > 0.0 or self.high < 0.0


def lift(initial: float, final: float) -> float:
    """Relative change `final / initial - 1`; 0.10 is 10 % more. Raises ValueError where `initial` is not positive."""
    if not initial > 0.0:
        raise ValueError(f"lift is relative to the initial rate, which must be positive, not {initial}")
    return final / initial - 1.0


def bootstrap_lift_interval(
    initial: npt.ArrayLike, final: npt.ArrayLike, resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Percentile bootstrap of the lift of mean CTR (ratio of means), products drawn with replacement, both rates of a product together.

    `initial` and `final` are (P,) true CTRs of the same P >= 2 products, in the same order.
    Raises ValueError on other shapes, on fewer than two products, and on rates that are not positive.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    before, after = _paired(initial, final)
    if np.any(before <= 0.0) or np.any(after < 0.0):
        raise ValueError(f"click rates must be positive; the lowest are {before.min()} (initial) and {after.min()} (final)")

    def ratio_of_means(a: FloatArray, b: FloatArray, axis: int = -1) -> FloatArray:
        return np.asarray(b.mean(axis=axis) / a.mean(axis=axis) - 1.0)

    result = stats.bootstrap(
        (before, after),
        ratio_of_means,
        n_resamples=resamples,
        batch=256,
        paired=True,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def t_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Student t-interval of the mean of `values` (N >= 2). Equal values give an interval of width zero."""
    sample = _finite(values)
    if sample.ndim != 1 or sample.size < 2:
        raise ValueError(f"an interval needs at least two values in one dimension, not shape {sample.shape}")
    half = stats.t.ppf(0.5 + confidence / 2.0, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size)
    return Interval(float(sample.mean() - half), float(sample.mean() + half))


def crossed_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of the mean of `values` (S, P), one for each of S >= 2 seeds by P >= 2 products, where both were drawn from many.

    Two-way random effects: the mean's variance is (MS_seeds + MS_products - MS_rest) / (S P), its degrees of freedom are Satterthwaite's.
    An effect whose mean square is below MS_rest counts as none. With products that are all alike this is the t-interval over seeds.
    Raises ValueError on other shapes. Satterthwaite, Biometrics Bulletin 2 (1946), 110.
    """
    sample = _finite(values)
    if sample.ndim != 2 or min(sample.shape) < 2:
        raise ValueError(f"an interval over seeds and products needs two of each, not shape {sample.shape}")
    (num_seeds, num_products), mean = sample.shape, float(sample.mean())
    of_seeds, of_products = sample.mean(axis=1, keepdims=True), sample.mean(axis=0, keepdims=True)
    freedom = np.array([num_seeds - 1, num_products - 1, (num_seeds - 1) * (num_products - 1)], dtype=np.float64)
    sums = [
        num_products * np.sum((of_seeds - mean) ** 2),
        num_seeds * np.sum((of_products - mean) ** 2),
        np.sum((sample - of_seeds - of_products + mean) ** 2),
    ]
    squares = np.array(sums) / freedom
    total = float(squares[0] + squares[1] - squares[2])
    if total <= squares[:2].max():
        larger = int(np.argmax(squares[:2]))
        total, degrees = float(squares[larger]), float(freedom[larger])
    else:
        degrees = total**2 / float(np.sum(squares**2 / freedom))
    half = float(stats.t.ppf(0.5 + confidence / 2.0, degrees)) * np.sqrt(total / sample.size)
    return Interval(mean - half, mean + half)


def paired_interval(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Student t-interval of the mean of `b - a`, (N,) measurements of the same N units (seeds, products) in the same order."""
    first, second = _paired(a, b)
    return t_interval(second - first, confidence)


class MeanDifference(NamedTuple):
    """A difference of two means."""

    difference: float
    standard_error: float

    @property
    def is_clear(self) -> bool:
        """True where the difference is above 0 by more than twice its standard error."""
        return self.difference > 2.0 * self.standard_error


def mean_difference(a: Mapping[str, float], b: Mapping[str, float]) -> MeanDifference:
    """Mean of `a` less mean of `b`; units (products) by name, those in both are paired. Each needs two units (ValueError).

    SE^2 = s_a^2 / n_a + s_b^2 / n_b - 2 r s_a s_b n_ab / (n_a n_b), with r the correlation over the n_ab units in both: Welch's where there
    are none, the paired one where all are. Derrick, Toher and White, The Quantitative Methods for Psychology 13 (2017) 120-126.
    """
    first, second = _finite(list(a.values())), _finite(list(b.values()))
    if min(first.size, second.size) < 2:
        raise ValueError(f"a difference of means needs two units on each side, not {first.size} and {second.size}")
    spreads = first.std(ddof=1), second.std(ddof=1)
    shared = [name for name in a if name in b]
    correlation = _correlation([a[name] for name in shared], [b[name] for name in shared])
    common = 2.0 * correlation * spreads[0] * spreads[1] * len(shared) / (first.size * second.size)
    variance = spreads[0] ** 2 / first.size + spreads[1] ** 2 / second.size - common
    return MeanDifference(float(first.mean() - second.mean()), float(np.sqrt(max(variance, 0.0))))


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a share, sound at small counts and near 0 and 1. Raises ValueError unless 0 <= successes <= trials."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is not a share")
    found = stats.binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def pairwise_accuracy(scores: npt.ArrayLike, ctr: npt.ArrayLike, groups: Sequence[str] | npt.ArrayLike) -> float:
    """Share of same-group pairs that `scores` puts in the order of `ctr`; equal scores count half, equal CTRs are no pair.

    All three are (N,): one creative each, `groups` its product. Raises ValueError where no group holds two different CTRs.
    """
    predicted, actual = _paired(scores, ctr, minimum=1)
    labels = np.asarray(groups)
    if labels.shape != predicted.shape:
        raise ValueError(f"groups must have the shape of scores, {predicted.shape}, not {labels.shape}")
    right, pairs = 0.0, 0
    for label in np.unique(labels):
        members = labels == label
        upper = np.triu_indices(int(members.sum()), k=1)
        ordered = np.sign(np.subtract.outer(actual[members], actual[members])[upper])
        guessed = np.sign(np.subtract.outer(predicted[members], predicted[members])[upper])
        decided = ordered != 0
        right += float(np.sum(np.where(guessed == 0, 0.5, guessed == ordered)[decided]))
        pairs += int(decided.sum())
    if pairs == 0:
        raise ValueError(f"no two creatives of one group differ in CTR among {predicted.size} creatives")
    return right / pairs


def distinct_share(texts: Sequence[str]) -> float:
    """Distinct texts over all texts, case and spacing apart: 1 where all differ, 1/N where all are the same."""
    if not texts:
        raise ValueError("the share of distinct texts needs at least one text")
    return len({" ".join(text.casefold().split()) for text in texts}) / len(texts)


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """0 where it is not defined: fewer than two pairs, or no spread on one side."""
    if len(a) < 2 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _finite(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{int(np.sum(~np.isfinite(array)))} of {array.size} values are not finite numbers")
    return array


def _paired(a: npt.ArrayLike, b: npt.ArrayLike, minimum: int = 2) -> tuple[FloatArray, FloatArray]:
    first, second = _finite(a), _finite(b)
    if first.ndim != 1 or first.shape != second.shape or first.size < minimum:
        raise ValueError(f"paired values need the same shape (N,), N >= {minimum}, not {first.shape} and {second.shape}")
    return first, second
