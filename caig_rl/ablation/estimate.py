"""How long what is left will take, by what was finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from caig_rl.ablation.cells import Cell
from caig_rl.ablation.records import CellRecord


def seconds_for(cell: Cell, finished: Iterable[CellRecord]) -> float | None:
    """Mean of the arm's finished cells, else of its kind's, by the creatives that the run plans to paint; None where none is finished."""
    rows = [record.row for record in finished if record.row.kind == cell.arm.kind]
    same = [row.wall_s for row in rows if row.arm == cell.arm.name]
    if same:
        return float(np.mean(same))
    if cell.arm.kind == "best_of_n":
        return float(np.mean([row.wall_s for row in rows])) if rows else None
    rates = [row.wall_s / row.painted for row in rows if row.painted]
    planned = cell.config.rollout.rounds * cell.config.rollout.products_per_round * cell.config.rollout.candidates
    return float(np.mean(rates)) * planned if rates else None


def seconds_left(cells: Sequence[Cell], finished: Mapping[str, CellRecord]) -> float | None:
    """Of all cells that are not finished; None where one of them has nothing to go by."""
    found = [seconds_for(cell, finished.values()) for cell in cells if cell.name not in finished]
    return None if any(one is None for one in found) else float(sum(one for one in found if one is not None))
