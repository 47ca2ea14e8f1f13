"""Arms over seeds: means with intervals, differences to the arm that all are compared with, and both as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caig_rl.ablation.config import Ablation
from caig_rl.ablation.records import CellRecord, CellRow
from caig_rl.reports.run_report_text import percent, signed_percent
from caig_rl.statistics import Interval, t_interval

TABLE_FILE = "table.md"
NONE = "\u2013"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    interval: Interval | None
    """95 % t-interval over seeds; with one seed that seed's own over products, where there is one."""
    num: int
    """Seeds it is the mean of."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its finished seeds."""

    name: str
    about: str
    rows: tuple[CellRow, ...]
    lift: Estimate
    way: Estimate | None
    relevance_initial: Estimate | None
    relevance: Estimate | None
    distinct: Estimate | None
    kl: Estimate | None
    malformed_initial: Estimate | None
    malformed: Estimate | None
    trap_initial: Estimate | None
    trap: Estimate | None
    unseen: Estimate | None
    to_half: Estimate | None
    painted: Estimate
    per_creative: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """Finished."""
        return tuple(row.seed for row in self.rows)


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm's lift less another's, in points of the initial CTR, on the seeds and products that both were measured on."""

    arm: str
    against: str
    overall: Estimate
    by_seed: Mapping[int, Estimate]
    """Of each seed, with a t-interval over products: a product's creatives count as one."""


def arm_summaries(ablation: Ablation, records: Sequence[CellRecord]) -> list[ArmSummary]:
    """In the ablation's order; arms without a finished cell are left out."""
    found = []
    for arm in ablation.arms:
        rows = tuple(sorted((one.row for one in records if one.row.arm == arm.name), key=lambda row: row.seed))
        if rows:
            found.append(_summary(arm.name, arm.about, rows))
    return found


def differences(ablation: Ablation, records: Sequence[CellRecord]) -> list[Difference]:
    """Every arm against `compare`; empty where the ablation compares with none, or nothing of it is finished."""
    ours = {one.row.seed: one for one in records if one.row.arm == ablation.compare}
    found = []
    for arm in ablation.arms:
        theirs = {one.row.seed: one for one in records if one.row.arm == arm.name}
        shared = sorted(ours.keys() & theirs.keys())
        if arm.name != ablation.compare and ablation.compare is not None and shared:
            found.append(_difference(arm.name, ablation.compare, [(theirs[seed], ours[seed]) for seed in shared]))
    return found


def over_seeds(values: Sequence[float | None]) -> Estimate | None:
    """Mean and t-interval of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Estimate(float(np.mean(known)), t_interval(known) if len(known) > 1 else None, len(known))


def markdown(ablation: Ablation, records: Sequence[CellRecord]) -> str:
    """`table.md`: the arms, and below them the differences."""
    arms = arm_summaries(ablation, records)
    lines = [f"# {ablation.name}", "", _caption(arms), "", *_as_markdown(HEADINGS, [arm_cells(arm) for arm in arms])]
    compared = differences(ablation, records)
    if compared:
        lines += ["", f"Against {ablation.compare}, same seeds, products and noise, in points of lift (arm minus {ablation.compare}):", ""]
        lines += _as_markdown(DIFFERENCE_HEADINGS, [difference_cells(one) for one in compared])
    return "\n".join(lines) + "\n"


HEADINGS = (
    "arm",
    "seeds",
    "true CTR lift",
    "share of the way",
    "relevance",
    "trap share",
    "malformed",
    "distinct",
    "KL",
    "rollouts to half the lift",
    "lift, unseen categories",
    "painted to train",
    "painted per creative",
)
DIFFERENCE_HEADINGS = ("arm", "mean over seeds", "each seed, interval over products")


def arm_cells(arm: ArmSummary) -> list[str]:
    """One row under `HEADINGS`."""
    half = NONE
    if arm.to_half is not None:
        of = "" if arm.to_half.num == len(arm.rows) else f" ({arm.to_half.num} of {len(arm.rows)} seeds)"
        half = _said(arm.to_half, _number(0)) + of
    return [
        arm.name,
        str(len(arm.rows)),
        _said(arm.lift, signed_percent),
        _said(arm.way, _number(2)),
        _from_to(arm.relevance_initial, arm.relevance, _number(3)),
        _from_to(arm.trap_initial, arm.trap, percent),
        _from_to(arm.malformed_initial, arm.malformed, percent),
        _said(arm.distinct, _number(2)),
        _said(arm.kl, _number(1)),
        half,
        _said(arm.unseen, signed_percent),
        f"{arm.painted.mean:,.0f}",
        str(arm.per_creative),
    ]


def difference_cells(one: Difference) -> list[str]:
    """One row under `DIFFERENCE_HEADINGS`."""
    seeds = "; ".join(f"{seed}: {_said(estimate, _points)}" for seed, estimate in one.by_seed.items())
    return [one.arm, _said(one.overall, _points), seeds]


def _summary(name: str, about: str, rows: tuple[CellRow, ...]) -> ArmSummary:
    lift, painted = over_seeds([row.lift for row in rows]), over_seeds([float(row.painted) for row in rows])
    assert lift is not None and painted is not None
    if len(rows) == 1 and rows[0].lift_ci95 is not None:
        lift = Estimate(lift.mean, Interval(*rows[0].lift_ci95), 1)
    return ArmSummary(
        name=name,
        about=about,
        rows=rows,
        lift=lift,
        way=over_seeds([row.way for row in rows]),
        relevance_initial=over_seeds([row.relevance_initial for row in rows]),
        relevance=over_seeds([row.relevance_final for row in rows]),
        distinct=over_seeds([row.distinct_final for row in rows]),
        kl=over_seeds([row.kl for row in rows]),
        malformed_initial=over_seeds([row.malformed_initial for row in rows]),
        malformed=over_seeds([row.malformed for row in rows]),
        trap_initial=over_seeds([row.trap_initial for row in rows]),
        trap=over_seeds([row.trap for row in rows]),
        unseen=over_seeds([row.lift_unseen for row in rows]),
        to_half=over_seeds([row.painted_to_half for row in rows]),
        painted=painted,
        per_creative=rows[0].painted_per_creative,
    )


def _difference(arm: str, against: str, pairs: Sequence[tuple[CellRecord, CellRecord]]) -> Difference:
    by_seed = {}
    for theirs, ours in pairs:
        ids = [name for name in ours.product_ids if name in set(theirs.product_ids)]
        points = (theirs.ctrs(ids) - ours.ctrs(ids)) / ours.row.ctr_initial
        interval = t_interval(points) if len(ids) > 1 else None
        by_seed[ours.row.seed] = Estimate(float(points.mean()), interval, 1)
    overall = over_seeds([one.mean for one in by_seed.values()])
    assert overall is not None
    if len(by_seed) == 1:
        overall = next(iter(by_seed.values()))
    return Difference(arm, against, overall, by_seed)


def _said(estimate: Estimate | None, words: Callable[[float], str]) -> str:
    if estimate is None:
        return NONE
    if estimate.interval is None:
        return words(estimate.mean)
    return f"{words(estimate.mean)} ({words(estimate.interval.low)} to {words(estimate.interval.high)})"


def _from_to(before: Estimate | None, after: Estimate | None, words: Callable[[float], str]) -> str:
    return _said(after, words) if before is None or after is None else f"{words(before.mean)} → {_said(after, words)}"


def _number(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:,.{digits}f}".replace("-", "\u2212")


def _points(value: float) -> str:
    return f"{100.0 * value:+.1f}".replace("-", "\u2212")


def _caption(arms: Sequence[ArmSummary]) -> str:
    if not arms:
        return "No cell is finished."
    products = {row.products for arm in arms for row in arm.rows}
    count = f"{min(products)}" if len(products) == 1 else f"{min(products)} to {max(products)}"
    return (
        f"Mean over seeds of {count} held-out products each, in brackets the 95 % t-interval over seeds (of one seed: over products). "
        "Lift is relative to the initial policy on the same products, seeds and noise."
    )


def _as_markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]
