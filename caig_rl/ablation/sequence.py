"""Runs the cells of a plan one after another; what is finished is never run again. Plain: what runs a cell is given."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from caig_rl.ablation.cells import Cell, Plan
from caig_rl.ablation.estimate import seconds_for, seconds_left
from caig_rl.ablation.page import write_results
from caig_rl.ablation.records import CellRecord, finished_cells, write_record
from caig_rl.errors import UserError
from caig_rl.reports.run_report_text import signed_percent
from caig_rl.runs.folder import RunFolder
from caig_rl.wording import duration

logger = logging.getLogger(__name__)


def prepared_folder(plan: Plan) -> RunFolder:
    """The ablation's folder, made where it is not there. Raises UserError where it holds a run, or cannot be written."""
    folder = plan.folder
    if folder.exists("config.yaml"):
        raise UserError(f"{folder.url} holds a run, not an ablation; give another run.name or run.root")
    folder.prepare(resume=folder.has_begun)
    return folder


class CellRunner(Protocol):
    """Runs one cell, or goes on with it where it stands."""

    async def run_cell(self, cell: Cell) -> CellRecord | None:
        """The record of the finished cell; None where it was told to stop. Raises UserError where it cannot be finished."""


@dataclass(slots=True)
class Ended:
    """How it ended."""

    finished: dict[str, CellRecord]
    """Every finished cell by name, earlier ones too."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by name; they are tried again the next time."""
    is_stopped: bool = False


async def run_cells(plan: Plan, runner: CellRunner, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Ended:
    """Run what is not finished. A cell that fails is named, and the next begins; results are written anew after each cell.

    Raises:
        ConfigError: a cell was finished with other settings.
    """
    ended = Ended(finished_cells(plan))
    kept = sum(cell.name in ended.finished for cell in plan.cells)
    if kept:
        say(f"{kept} of {len(plan.cells)} cells are finished and kept")
    if ended.finished:
        write_results(plan, _in_order(plan, ended))
    for number, cell in enumerate(plan.cells, 1):
        if cell.name in ended.finished:
            continue
        say(f"cell {number} of {len(plan.cells)}: {cell.name}{_in_time(plan, cell, ended)}")
        try:
            refuse_without_source(cell, ended.finished)
            began = clock()
            record = await runner.run_cell(cell)
        except UserError as error:
            logger.warning("%s failed: %s", cell.name, error)
            ended.failed[cell.name] = str(error)
            say(f"{cell.name} failed: {error}")
            continue
        if record is None:
            ended.is_stopped = True
            break
        write_record(plan.cell_folder(cell.name), record)
        ended.finished[cell.name] = record
        write_results(plan, _in_order(plan, ended))
        say(f"{cell.name} is finished: {signed_percent(record.row.lift)} true CTR, in {duration(clock() - began)}")
    return ended


def refuse_without_source(cell: Cell, finished: dict[str, CellRecord]) -> None:
    """Raises UserError where the cell picks from a policy that is not trained yet."""
    if cell.source is not None and cell.source not in finished:
        raise UserError(f"it picks from the policy of {cell.source}, which is not finished: name {cell.arm.of} in --only too")


def _in_order(plan: Plan, ended: Ended) -> list[CellRecord]:
    return [ended.finished[cell.name] for cell in plan.every_cell if cell.name in ended.finished]


def _in_time(plan: Plan, cell: Cell, ended: Ended) -> str:
    this, left = seconds_for(cell, ended.finished.values()), seconds_left(plan.cells, ended.finished)
    words = [f"about {duration(this)}"] if this is not None else []
    if left is not None:
        words.append(f"all that is left about {duration(left)}")
    return f" ({', '.join(words)})" if words else ""
