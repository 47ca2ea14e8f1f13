"""The cells of an ablation as a table: what is done, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from caig_rl.ablation.cells import Cell, Plan
from caig_rl.ablation.estimate import seconds_for
from caig_rl.ablation.records import CellRecord
from caig_rl.ablation.rewards import RewardToMake, accuracy_of
from caig_rl.reports.run_report_text import percent, signed_percent
from caig_rl.wording import duration


def cells_table(plan: Plan, finished: Mapping[str, CellRecord]) -> Table:
    """The selected cells in the order in which they are run."""
    table = Table("cell", "what", "state", "time")
    for cell in plan.cells:
        table.add_row(escape(cell.name), escape(_what(cell)), *_state(plan, cell, finished))
    return table


def rewards_table(plan: Plan) -> Table:
    """The reward models that the selected cells need made."""
    table = Table("reward model", "creatives of", "how", "state")
    for reward in plan.rewards:
        recipe = reward.recipe
        drawn = f"{recipe.products:,} products, {recipe.candidates} each, {reward.creatives.name}"
        table.add_row(escape(reward.name), drawn, escape(" ".join(recipe.overrides)), _made(reward))
    return table


def _made(reward: RewardToMake) -> str:
    found = accuracy_of(reward)
    if found is not None:
        return f"made, {percent(found[0])} of held-out pairs in order"
    return "creatives are drawn, in part or all" if reward.creatives.is_dir() else "to make"


def _what(cell: Cell) -> str:
    own = list(cell.arm.overrides) + ([] if cell.arm.reward is None else [f"reward {cell.arm.reward}"])
    if cell.arm.kind == "best_of_n":
        return " ".join([f"best of {cell.arm.n}, {cell.arm.of}", *own])
    rollout = cell.config.rollout
    painted = rollout.rounds * rollout.products_per_round * rollout.candidates
    return " ".join([f"train, {painted:,} creatives", *own])


def _state(plan: Plan, cell: Cell, finished: Mapping[str, CellRecord]) -> tuple[str, str]:
    if cell.name in finished:
        row = finished[cell.name].row
        return f"finished, {signed_percent(row.lift)}", duration(row.wall_s)
    state = "begun; goes on" if plan.cell_folder(cell.name).has_begun else "to run"
    seconds = seconds_for(cell, finished.values())
    return state, "" if seconds is None else f"about {duration(seconds)}"
