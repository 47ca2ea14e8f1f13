"""Arms over seeds and products: means with intervals, and paired differences between arms of one world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caig_rl.ablation.cells import Plan
from caig_rl.ablation.records import CellRecord, CellRow
from caig_rl.statistics import Interval, crossed_interval, t_interval

ByProduct = Mapping[str, float]
"""A number for each held-out product, by its id, of one seed."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    interval: Interval | None
    """95 %, over seeds and products where each product was measured, else over seeds; with one seed over products, where there are any."""
    num: int
    """Seeds it is the mean of."""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its finished seeds."""

    name: str
    about: str
    world: str
    """Lifts of two worlds do not compare."""
    is_bound: bool
    """True where the true CTR was the reward: what it earns is a bound, and no way to do it."""
    rows: tuple[CellRow, ...]
    planned: int
    """Seeds of the ablation."""
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


@dataclass(frozen=True, slots=True)
class BoundShare:
    """An arm's lift as a share of what the true CTR as reward earns."""

    arm: str
    bound: str
    share: Estimate


def arm_summaries(plan: Plan, records: Sequence[CellRecord]) -> list[ArmSummary]:
    """In the ablation's order; arms without a finished cell are left out."""
    found = []
    for arm in plan.ablation.arms:
        own = sorted((one for one in records if one.row.arm == arm.name), key=lambda one: one.row.seed)
        if own:
            found.append(_summary(plan, arm.name, arm.about, own))
    return found


def differences(plan: Plan, records: Sequence[CellRecord]) -> list[Difference]:
    """Every arm against the one of its world that it is compared with; without those that share no finished seed or no product with it."""
    found = []
    for arm in plan.ablation.arms:
        against = plan.compared_with(arm.name)
        if against is None:
            continue
        pairs = [(theirs, ours) for theirs, ours in _paired(records, arm.name, against) if set(theirs.product_ids) & set(ours.product_ids)]
        if pairs:
            found.append(_difference(arm.name, against, pairs))
    return found


def bound_shares(plan: Plan, records: Sequence[CellRecord]) -> list[BoundShare]:
    """For each arm that the true CTR rewarded, what the arm that it is compared with has of its lift, on the seeds of both."""
    found = []
    for arm in arm_summaries(plan, records):
        against = plan.compared_with(arm.name)
        pairs = _paired(records, arm.name, against) if arm.is_bound and against is not None else []
        shares = [ours.row.lift / bound.row.lift for bound, ours in pairs if bound.row.lift > 0.0]
        share = over_seeds(shares)
        if share is not None and against is not None:
            found.append(BoundShare(against, arm.name, share))
    return found


def over_seeds(values: Sequence[float | None]) -> Estimate | None:
    """Mean and t-interval of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Estimate(float(np.mean(known)), t_interval(known) if len(known) > 1 else None, len(known))


def over_seeds_and_products(means: Sequence[float], values: Sequence[ByProduct]) -> Estimate:
    """Mean of `means`, one a seed; its interval is over seeds and over the products that all seeds measured.

    `values`: what each product adds to its seed's mean, whose mean over products is that seed's.
    """
    mean = float(np.mean(means))
    shared = [name for name in values[0] if all(name in one for one in values)]
    if len(shared) < 2:
        return Estimate(mean, t_interval(means) if len(means) > 1 else None, len(means))
    table = np.array([[one[name] for name in shared] for one in values])
    low, high = crossed_interval(table) if len(means) > 1 else t_interval(table[0])
    return Estimate(mean, Interval(mean - (high - low) / 2, mean + (high - low) / 2), len(means))


def _summary(plan: Plan, name: str, about: str, records: Sequence[CellRecord]) -> ArmSummary:
    rows = tuple(record.row for record in records)
    painted = over_seeds([float(row.painted) for row in rows])
    assert painted is not None
    lift = over_seeds_and_products([row.lift for row in rows], [_lift_by_product(record) for record in records])
    if len(rows) == 1 and rows[0].lift_ci95 is not None:
        lift = Estimate(lift.mean, Interval(*rows[0].lift_ci95), 1)
    return ArmSummary(
        name=name,
        about=about,
        world=plan.world_of(name),
        is_bound=plan.is_bound(name),
        rows=rows,
        planned=len(plan.ablation.seeds),
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


def _lift_by_product(record: CellRecord) -> ByProduct:
    """The lift of the mean CTR as a mean over products: L + (after - (1 + L) before) / mean(before), which is linear in each product."""
    before, after = np.array(record.ctr_initial), np.array(record.ctr_final)
    return _by_id(record.product_ids, record.row.lift + (after - (1.0 + record.row.lift) * before) / before.mean())


def _difference(arm: str, against: str, pairs: Sequence[tuple[CellRecord, CellRecord]]) -> Difference:
    by_seed, points = {}, []
    for theirs, ours in pairs:
        ids = [name for name in ours.product_ids if name in set(theirs.product_ids)]
        found = (theirs.ctrs(ids) - ours.ctrs(ids)) / ours.row.ctr_initial
        points.append(_by_id(ids, found))
        by_seed[ours.row.seed] = Estimate(float(found.mean()), t_interval(found) if len(ids) > 1 else None, 1)
    return Difference(arm, against, over_seeds_and_products([one.mean for one in by_seed.values()], points), by_seed)


def _paired(records: Sequence[CellRecord], arm: str, against: str) -> list[tuple[CellRecord, CellRecord]]:
    """(the arm's, the other's) records of every seed that both have finished."""
    theirs, ours = ({one.row.seed: one for one in records if one.row.arm == name} for name in (arm, against))
    return [(theirs[seed], ours[seed]) for seed in sorted(theirs.keys() & ours.keys())]


def _by_id(names: Sequence[str], values: npt.NDArray[np.float64]) -> ByProduct:
    return dict(zip(names, values.tolist(), strict=True))
