"""`table.md`: arms and their differences as text, each world apart, and the reward models that were made for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caig_rl.ablation.cells import Plan
from caig_rl.ablation.records import CellRecord
from caig_rl.ablation.rewards import accuracy_of, distinct
from caig_rl.ablation.summaries import ArmSummary, BoundShare, Difference, Estimate, arm_summaries, bound_shares, differences
from caig_rl.reports.run_report_text import percent, signed_percent

TABLE_FILE = "table.md"
NONE = "\u2013"
HEADINGS = (
    "arm",
    "seeds",
    "true CTR lift",
    "share of the way",
    "relevance",
    "trap share",
    "malformed",
    "KL",
    "distinct",
    "rollouts to half the lift",
    "lift, unseen categories",
    "painted to train",
    "painted per creative",
)
DIFFERENCE_HEADINGS = ("arm", "less", "seeds", "mean over seeds", "each seed, interval over products")
REWARD_HEADINGS = ("reward model", "made for", "held-out pairs in order", "ceiling")


@dataclass(frozen=True, slots=True)
class WorldResults:
    """What compares: the arms of one world."""

    world: str
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]


def by_world(plan: Plan, records: Sequence[CellRecord]) -> list[WorldResults]:
    """The main world first, then the others in the ablation's order; worlds without a finished cell are left out."""
    arms, compared = arm_summaries(plan, records), differences(plan, records)
    worlds = dict.fromkeys([plan.main_world, *(arm.world for arm in arms)])
    found = []
    for world in worlds:
        own = tuple(arm for arm in arms if arm.world == world)
        if own:
            found.append(WorldResults(world, own, tuple(one for one in compared if plan.world_of(one.arm) == world)))
    return found


def markdown(plan: Plan, records: Sequence[CellRecord]) -> str:
    """`table.md`: for each world the arms, and below them the differences; then the reward models that were made."""
    worlds = by_world(plan, records)
    lines = [f"# {plan.ablation.name}", "", caption(worlds)]
    missing = missing_line(plan, records)
    lines += ["", missing] if missing else []
    for found in worlds:
        lines += ["", f"## {found.world[0].upper()}{found.world[1:]}"] if len(worlds) > 1 else []
        lines += ["", *_as_markdown(HEADINGS, [arm_cells(arm) for arm in found.arms])]
        if found.differences:
            lines += ["", "Differences on the same seeds, products and noise, in points of lift:", ""]
            lines += _as_markdown(DIFFERENCE_HEADINGS, [difference_cells(one) for one in found.differences])
    lines += [line for one in bound_shares(plan, records) for line in ("", bound_line(one))]
    made = reward_rows(plan)
    lines += ["", *_as_markdown(REWARD_HEADINGS, made)] if made else []
    return "\n".join(lines) + "\n"


def arm_cells(arm: ArmSummary) -> list[str]:
    """One row under `HEADINGS`."""
    half = NONE
    if arm.to_half is not None:
        of = "" if arm.to_half.num == len(arm.rows) else f" ({arm.to_half.num} of {len(arm.rows)} seeds)"
        half = _said(arm.to_half, _number(0)) + of
    return [
        arm.name,
        str(len(arm.rows)) if len(arm.rows) == arm.planned else f"{len(arm.rows)} of {arm.planned}",
        _said(arm.lift, signed_percent),
        _said(arm.way, _number(2)),
        _from_to(arm.relevance_initial, arm.relevance, _number(3)),
        _from_to(arm.trap_initial, arm.trap, percent),
        _from_to(arm.malformed_initial, arm.malformed, percent),
        _said(arm.kl, _number(1)),
        _said(arm.distinct, _number(2)),
        half,
        "" if arm.unseen is None else _said(arm.unseen, signed_percent),
        f"{arm.painted.mean:,.0f}",
        str(arm.per_creative),
    ]


def difference_cells(one: Difference) -> list[str]:
    """One row under `DIFFERENCE_HEADINGS`."""
    seeds = "; ".join(f"{seed}: {_said(estimate, _points)}" for seed, estimate in one.by_seed.items())
    return [one.arm, one.against, str(one.overall.num), _said(one.overall, _points), seeds]


def reward_rows(plan: Plan) -> list[list[str]]:
    """Rows under `REWARD_HEADINGS`, of the reward models that are made."""
    rows = []
    for reward in distinct(cell.reward for cell in plan.every_cell):
        found = accuracy_of(reward)
        if found is not None:
            arms = dict.fromkeys(cell.arm.name for cell in plan.every_cell if cell.reward is not None and cell.reward.name == reward.name)
            rows.append([reward.recipe.name, ", ".join(arms), percent(found[0]), percent(found[1])])
    return rows


def bound_line(one: BoundShare) -> str:
    """How near an arm comes to what no reward model can pass."""
    return f"{one.arm} has {_said(one.share, _number(2))} of the lift of {one.bound}, whose reward is the true CTR itself."


def missing_line(plan: Plan, records: Sequence[CellRecord]) -> str:
    """The arms that nothing is known of yet; empty where there are none, or where nothing is known at all."""
    done = {record.row.arm for record in records}
    missing = [arm.name for arm in plan.ablation.arms if arm.name not in done]
    return f"No seed is finished of: {', '.join(missing)}." if missing and done else ""


def caption(worlds: Sequence[WorldResults]) -> str:
    """What the numbers are means of."""
    arms = [arm for found in worlds for arm in found.arms]
    if not arms:
        return "No cell is finished."
    products = {row.products for arm in arms for row in arm.rows}
    count = f"{min(products)}" if len(products) == 1 else f"{min(products)} to {max(products)}"
    apart = " Arms of different worlds do not compare." if len(worlds) > 1 else ""
    return (
        f"Mean over seeds of {count} held-out products each. In brackets: 95 % intervals, of lifts and differences over seeds and "
        "products, of the rest over seeds (t-intervals); with one seed over products. Lift is relative to the initial policy in the same "
        f"world, on the same products, seeds and noise.{apart}"
    )


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


def _as_markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]
