"""True CTR of a run's training creatives against the creatives painted before them, and how many half the lift took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


class CurvePoint(NamedTuple):
    """One round."""

    painted: int
    """Creatives of all rounds before, which the round's policy has learned from."""
    ctr: float
    """Mean true CTR of the round's own creatives."""


def training_curve(rows: Sequence[Mapping[str, object]]) -> tuple[CurvePoint, ...]:
    """A point for each row of `metrics.jsonl` that was judged. Rows as in `caig_rl.runs.summary.RoundDetail`."""
    points, painted = [], 0
    for row in rows:
        ctr, creatives = row.get("ctr"), row.get("creatives")
        if isinstance(ctr, (int, float)):
            points.append(CurvePoint(painted, float(ctr)))
        if isinstance(creatives, Mapping):
            painted += int(creatives.get("painted", 0))
    return tuple(points)


def painted_to_half(curve: Sequence[CurvePoint], painted: int, lift: float) -> float | None:
    """Creatives painted until the policy had half of the held-out `lift` that the run ended with, read off its training creatives.

    The first round is painted by the initial policy, so CTRs are taken relative to it; between rounds the curve is straight, and after
    the last round (`painted` creatives in all) it ends at `lift`. None where there was no lift, or no curve.
    """
    if not curve or not lift > 0.0 or not curve[0].ctr > 0.0:
        return None
    reached = [(float(point.painted), point.ctr / curve[0].ctr - 1.0) for point in curve]
    reached.append((float(painted), max(lift, reached[-1][1])))
    half = lift / 2.0
    for (x0, y0), (x1, y1) in pairwise(reached):
        if y1 >= half:
            return x1 if y1 <= y0 else x0 + (x1 - x0) * max(0.0, half - y0) / (y1 - y0)
    return float(painted)
