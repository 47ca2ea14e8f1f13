"""The sample-ratio check: was each test's traffic split as designed? If not, its clicks compare audiences, not creatives.

Pearson's chi-square over the arms of a test, against the first of: logged propensities, declared shares, an equal split. A test that spans
several products (a campaign) is checked product by product, as its creatives are compared: which product people see is their choice, and no
split. Many tests are
checked at once, so the level is held by Benjamini and Hochberg's procedure over all of them (J. R. Stat. Soc. B 57, 1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MIN_EXPECTED = 5.0
"""Below this many expected impressions in some arm the chi-square distribution is no good approximation, and the test is not checked."""
SAME = 1e-6
"""Relative difference up to which propensities or shares of an arm count as constant."""
Design = Literal["propensity", "share", "equal", "unchecked"]


class SplitVerdict(StrEnum):
    """What the check says of one test."""

    FITS = "fits"
    DEVIATES = "deviates"
    """Set aside: its traffic was not split as designed."""
    SHARE_CHANGES = "share_changes"
    """Set aside: an arm declares different shares in different rows."""
    SINGLE_ARM = "single_arm"
    """Nothing was split, and nothing can be compared."""
    TOO_SMALL = "too_small"
    """Too few impressions to check; the impression floor decides on it."""
    UNCHECKED = "unchecked"
    """The check is switched off."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The check of T tests, in the order of their first arm; a test that spans several products is one for each of them."""

    tests: tuple[str, ...]
    """Names; with the product, "test / product", where a test spans several."""
    index: IntArray
    """(A,) the test of each arm, 0 to T - 1."""
    spanning: int
    """Tests of the log that span several products."""
    design: Design
    p_values: FloatArray
    """(T,) probability of a deviation as large by chance; NaN where the test was not checked."""
    verdicts: tuple[SplitVerdict, ...]

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(T,) False for the tests that are set aside."""
        return np.array([verdict not in (SplitVerdict.DEVIATES, SplitVerdict.SHARE_CHANGES) for verdict in self.verdicts], dtype=bool)


def chosen_design(arms: pa.Table, split: str) -> Design:
    """The design to check against: `split`, or for "auto" the best-documented one that the log holds."""
    if split == "auto":
        return "propensity" if "propensity_min" in arms.column_names else "share" if "share_min" in arms.column_names else "equal"
    return split  # type: ignore[return-value]


def check_sample_ratio(arms: pa.Table, design: Design, level: float) -> SampleRatio:
    """Check every test of `arms`, a table by `ArmTotals`; `level` is the share of false alarms allowed among the tests set aside."""
    tests, index, spans = _by_product(arms)
    shown = _floats(arms["impressions"])
    count = len(tests)
    sizes = np.bincount(index, minlength=count)
    statistic, freedom, smallest, changes = _statistics(arms, design, shown, index, spans)
    checked = (sizes > 1) & (smallest >= MIN_EXPECTED) & ~changes & (design != "unchecked")
    p_values = np.full(count, np.nan)
    p_values[checked] = stats.chi2.sf(statistic[checked], freedom[checked])
    deviates = np.zeros(count, dtype=bool)
    if checked.any():
        deviates[checked] = stats.false_discovery_control(p_values[checked], method="bh") <= level
    verdicts = [_verdict(design, int(sizes[k]), bool(changes[k]), bool(checked[k]), bool(deviates[k])) for k in range(count)]
    spanning = len(pc.unique(arms["test"].filter(pa.array(spans[index]))))
    return SampleRatio(tests, index, spanning, design, p_values, tuple(verdicts))


def chi_square(shown: FloatArray, expected: FloatArray, index: IntArray, count: int) -> FloatArray:
    """(T,) Pearson's sum over the arms of a test of (shown - expected)^2 / expected; `index` (A,) is the test of each arm."""
    return np.asarray(np.bincount(index, (shown - expected) ** 2 / expected, minlength=count), dtype=np.float64)


def spread_by_moving(arms: pa.Table) -> FloatArray:
    """(A,) how much wider sum(1/e_t) of an arm scatters than if its propensities had stood still at their harmonic mean h; at least 1.

    Its variance is sum over all chances of (1/e_t - 1), estimated without bias by the sum over the arm's impressions of (1/e_t^2 - 1/e_t);
    standing still at h = n / sum(1/e_t) that is n (1 - h) / h^2. 1 where they do stand still.
    """
    shown, weight, squared = (_floats(arms[name]) for name in ("impressions", "weight", "squared_weight"))
    still = np.divide(weight * (weight - shown), shown, out=np.zeros_like(shown), where=shown > 0.0)
    return np.maximum(1.0, np.divide(squared - weight, still, out=np.ones_like(shown), where=still > 0.0))


def _statistics(
    arms: pa.Table, design: Design, shown: FloatArray, index: IntArray, spans: npt.NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Per test: chi-square, degrees of freedom, smallest expected count, and whether a declared share changes within an arm."""
    count = len(spans)
    totals = np.bincount(index, shown, minlength=count)
    freedom = np.bincount(index, minlength=count).astype(np.float64) - 1.0
    changes = np.zeros(count, dtype=bool)
    spread = np.ones(len(shown))
    if design == "share":
        weights = _floats(arms["share_min"])
        changes = _any(_varies(arms, "share"), index, count)
    elif design == "propensity":
        # An arm shown n times at propensities e_t had about sum(1/e_t) chances to be shown; n / sum(1/e_t) is the harmonic mean of the
        # propensities it should have been shown with. At constant propensities that is e itself, and this is the usual chi-square.
        # An arm that was never shown has no such mean, and is judged by its lowest logged propensity.
        weights = np.divide(shown, _floats(arms["weight"]), out=_floats(arms["propensity_min"]).copy(), where=shown > 0.0)
        constant = ~_any(_varies(arms, "propensity"), index, count)
        # Harmonic means of varying propensities add up to less than 1, which leaves up to one degree of freedom more. Of one product among
        # several, whether they were to add up to 1 is not known: its chances to be shown are estimated from its own arms.
        relative = constant | spans
        freedom += ~relative
        weights = np.where(relative[index], weights / np.bincount(index, weights, minlength=count)[index], weights)
        # A bandit shows a creative first often and then hardly: without this, honest logs of bandits are set aside.
        spread = np.where(constant[index], 1.0, spread_by_moving(arms))
    else:
        weights = np.ones(len(shown))
    if design != "propensity":
        weights = weights / np.bincount(index, weights, minlength=count)[index]
    expected = np.maximum(weights * totals[index], 1e-12)
    smallest = np.full(count, np.inf)
    np.minimum.at(smallest, index, expected)
    return chi_square(expected + (shown - expected) / np.sqrt(spread), expected, index, count), np.maximum(freedom, 1.0), smallest, changes


def _varies(arms: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    low, high = _floats(arms[f"{name}_min"]), _floats(arms[f"{name}_max"])
    return np.asarray(high - low > SAME * high)


def _any(flags: npt.NDArray[np.bool_], index: IntArray, count: int) -> npt.NDArray[np.bool_]:
    return np.bincount(index, flags, minlength=count) > 0


def _by_product(arms: pa.Table) -> tuple[tuple[str, ...], IntArray, npt.NDArray[np.bool_]]:
    """(names of the T tests taken product by product, (A,) the one of each arm, (T,) whether its test spans several products)."""
    test, product = (arms[name].combine_chunks().dictionary_encode() for name in ("test", "product"))
    codes = [np.asarray(part.indices.to_numpy(), dtype=np.int64) for part in (test, product)]
    both = codes[0] * len(product.dictionary) + codes[1]
    _, first, index = np.unique(both, return_index=True, return_inverse=True)
    # By first arm, as they come in the table.
    order = np.argsort(first)
    index, first = np.argsort(order)[index], first[order]
    spans = (np.bincount(codes[0][first])[codes[0]] > 1)[first]
    tests, products = test.dictionary.to_pylist(), product.dictionary.to_pylist()
    names = (
        f"{tests[codes[0][k]]} / {products[codes[1][k]]}" if wide else tests[codes[0][k]] for k, wide in zip(first, spans, strict=True)
    )
    return tuple(names), index.astype(np.int64), spans


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _verdict(design: Design, size: int, changes: bool, checked: bool, deviates: bool) -> SplitVerdict:
    if size < 2:
        return SplitVerdict.SINGLE_ARM
    if design == "unchecked":
        return SplitVerdict.UNCHECKED
    if changes:
        return SplitVerdict.SHARE_CHANGES
    if not checked:
        return SplitVerdict.TOO_SMALL
    return SplitVerdict.DEVIATES if deviates else SplitVerdict.FITS
