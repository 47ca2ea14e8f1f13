"""The cells of an ablation as a table: what is done, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from caig_rl.ablation.cells import Cell, Plan
from caig_rl.ablation.estimate import seconds_for
from caig_rl.ablation.records import CellRecord
from caig_rl.reports.run_report_text import signed_percent
from caig_rl.wording import duration


def cells_table(plan: Plan, finished: Mapping[str, CellRecord]) -> Table:
    """The selected cells in the order in which they are run."""
    table = Table("cell", "what", "state", "time")
    for cell in plan.cells:
        table.add_row(escape(cell.name), escape(_what(cell)), *_state(plan, cell, finished))
    return table


def _what(cell: Cell) -> str:
    if cell.arm.kind == "best_of_n":
        return " ".join([f"best of {cell.arm.n}, {cell.arm.of}", *cell.arm.overrides])
    rollout = cell.config.rollout
    painted = rollout.rounds * rollout.products_per_round * rollout.candidates
    return " ".join([f"train, {painted:,} creatives", *cell.arm.overrides])


def _state(plan: Plan, cell: Cell, finished: Mapping[str, CellRecord]) -> tuple[str, str]:
    if cell.name in finished:
        row = finished[cell.name].row
        return f"finished, {signed_percent(row.lift)}", duration(row.wall_s)
    state = "begun; goes on" if plan.cell_folder(cell.name).has_begun else "to run"
    seconds = seconds_for(cell, finished.values())
    return state, "" if seconds is None else f"about {duration(seconds)}"
