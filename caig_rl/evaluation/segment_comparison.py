"""Policies compared among each segment of shoppers: before against after, and one that is told the segment against one for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.runs.summary import CtrSummary, SegmentSummary
from caig_rl.segments import Shares
from caig_rl.statistics import Interval, bootstrap_lift_interval, lift, t_interval

FloatArray = npt.NDArray[np.float64]


def written_for_each(by_segment: Sequence[EvaluatedPolicy], shares: Shares) -> EvaluatedPolicy:
    """One policy's evaluations, each of prompts written for one segment, as one, on the products that all of them hold.

    Args:
        by_segment: an evaluation for each of `shares`, in their order; products in the same order in each. Without segments the only one,
            which is given back.
        shares: of the segments.

    Raises:
        ValueError: no product was measured for every segment.
    """
    if not shares:
        (everybody,) = by_segment
        return everybody
    shared = set.intersection(*(set(one.product_ids) for one in by_segment))
    parts = [one.only(shared) for one in by_segment]
    judged = [part.ctrs for part in parts if part.ctrs is not None], [part.relevances for part in parts if part.relevances is not None]
    checks = [part.checks for part in parts if part.checks is not None]
    return EvaluatedPolicy(
        product_ids=parts[0].product_ids,
        prompts=tuple(tuple(chain(*rows)) for rows in zip(*(part.prompts for part in parts), strict=True)),
        scores=np.concatenate([part.scores for part in parts], axis=1),
        ctrs=np.concatenate(judged[0], axis=1) if judged[0] else None,
        relevances=np.concatenate(judged[1], axis=1) if judged[1] else None,
        checks=tuple(tuple(chain(*rows)) for rows in zip(*checks, strict=True)) if checks else None,
        unseen=parts[0].unseen,
        shares=dict(shares),
    )


def compare_by_segment(before: EvaluatedPolicy, after: EvaluatedPolicy, resamples: int = 2000, seed: int = 0) -> tuple[SegmentSummary, ...]:
    """`segments` of the summary, on the products that both were measured on; empty where `after` was not told segments apart.

    Args:
        before: the initial policy.
        after: the final one, told the same segments.
        resamples: of the bootstrap over products.
        seed: of the bootstrap.
    """
    if not after.shares or before.ctrs is None or after.ctrs is None:
        return ()
    ends = before.only(after.product_ids).ctrs_by_segment(), after.only(before.product_ids).ctrs_by_segment()
    return tuple(
        SegmentSummary(segment=name, share=share, ctr=_ctr_summary(ends[0][name], ends[1][name], resamples, seed))
        for name, share in after.shares.items()
    )


@dataclass(frozen=True, slots=True, eq=False)
class CtrDifferences:
    """True CTR of a policy that was told the segment less that of one for everybody: same products, same shoppers, same noise.

    Differences of several seeds may be pooled: each row is a product.
    """

    product_ids: tuple[str, ...]
    """(P,)."""
    overall: FloatArray
    """(P,) each segment by its share, fractions of impressions."""
    by_segment: Mapping[str, FloatArray]
    """Segment -> (P,)."""

    @property
    def mean(self) -> float:
        """Of `overall`."""
        return float(self.overall.mean())

    @property
    def ci95(self) -> Interval | None:
        """t-interval of that mean over products; None with fewer than two."""
        return t_interval(self.overall) if len(self.overall) > 1 else None


def ctr_differences(conditioned: EvaluatedPolicy, for_everybody: EvaluatedPolicy) -> CtrDifferences:
    """Product by product, on those that both were measured on.

    Args:
        conditioned: was told segments (`shares`).
        for_everybody: was not, and was judged among the same segments (`segment_ctrs`).

    Raises:
        ValueError: no product in common, or a segment that either was not judged among.
    """
    mine, other = conditioned.only(for_everybody.product_ids), for_everybody.only(conditioned.product_ids)
    if mine.product_ids != other.product_ids:
        raise ValueError("the two policies were measured on the same products in a different order")
    ctrs, others = mine.ctrs_by_segment(), other.ctrs_by_segment()
    unknown = [name for name in mine.shares if name not in ctrs or name not in others]
    if unknown or not mine.shares:
        raise ValueError(f"true CTRs among {unknown[0] if unknown else 'any segment'!r} are known for only one of the two policies")
    by_segment = {name: ctrs[name] - others[name] for name in mine.shares}
    overall = np.sum([share * by_segment[name] for name, share in mine.shares.items()], axis=0)
    return CtrDifferences(mine.product_ids, overall, by_segment)


def _ctr_summary(initial: FloatArray, final: FloatArray, resamples: int, seed: int) -> CtrSummary:
    """Of (P,) true CTRs of the same products."""
    means = float(initial.mean()), float(final.mean())
    interval = bootstrap_lift_interval(initial, final, resamples, seed) if len(initial) > 1 else None
    return CtrSummary(initial=means[0], final=means[1], lift=lift(*means), ci95=interval)
