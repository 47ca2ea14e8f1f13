"""What is finished is kept and never run again. Cells are run by a fake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from caig_rl.ablation.cells import Cell, Plan
from caig_rl.ablation.estimate import seconds_for, seconds_left
from caig_rl.ablation.records import CellRecord
from caig_rl.ablation.sequence import Ended, prepared_folder, run_cells
from caig_rl.errors import ConfigError, UserError
from tests.ablation.made_up import a_plan, leave_files, record


class FakeCells:
    """Finishes a cell at once; stops, fails or is killed at those named."""

    def __init__(self, plan: Plan, stops: Sequence[str] = (), fails: Sequence[str] = (), killed: Sequence[str] = ()) -> None:
        self.ran: list[str] = []
        self._plan, self._stops, self._fails, self._killed = plan, stops, fails, killed

    async def run_cell(self, cell: Cell) -> CellRecord | None:
        self.ran.append(cell.name)
        leave_files(self._plan, cell)
        if cell.name in self._killed:
            raise KeyboardInterrupt
        if cell.name in self._fails:
            raise UserError("no reward model")
        return None if cell.name in self._stops else record(cell, 0.03, 0.02)


def _run(plan: Plan, runner: FakeCells, said: list[str] | None = None) -> Ended:
    return asyncio.run(run_cells(plan, runner, (said if said is not None else []).append))


def test_a_finished_cell_is_not_run_again_and_one_that_was_stopped_is(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, only=["two", "ours", "chance"])
    first = FakeCells(plan, stops=["two-seed1"])
    ended = _run(plan, first)
    assert ended.is_stopped and first.ran == ["two-seed0", "ours-seed0", "chance-seed0", "two-seed1"]
    second, said = FakeCells(plan), list[str]()
    ended = _run(plan, second, said)
    assert second.ran == ["two-seed1", "ours-seed1", "chance-seed1"] and not ended.is_stopped and len(ended.finished) == 6
    assert said[0] == "3 of 6 cells are finished and kept"
    assert said[1].startswith("cell 4 of 6: two-seed1 (about 1 min 0 s, all that is left about 3 min 0 s)")
    third = FakeCells(plan)
    _run(plan, third)
    assert third.ran == []
    assert plan.folder.read_text("cells.jsonl").count("\n") == 6


def test_a_driver_that_is_killed_keeps_what_was_finished(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, only=["two", "ours"])
    with pytest.raises(KeyboardInterrupt):
        _run(plan, FakeCells(plan, killed=["ours-seed0"]))
    assert plan.folder.read_text("cells.jsonl").count("\n") == 1 and plan.folder.exists("ablation.html")
    runner = FakeCells(plan)
    _run(plan, runner)
    assert runner.ran == ["ours-seed0", "two-seed1", "ours-seed1"]


def test_a_cell_that_fails_is_named_and_tried_again_the_next_time(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, seeds=[0])
    said: list[str] = []
    ended = _run(plan, FakeCells(plan, fails=["ours-seed0"]), said)
    assert ended.failed["ours-seed0"] == "no reward model"
    assert "which is not finished: name ours in --only too" in ended.failed["ours-of-3-seed0"]
    assert set(ended.finished) == {"two-seed0", "chance-seed0"} and "ours-seed0 failed: no reward model" in said
    again = FakeCells(plan)
    assert not _run(plan, again).failed and again.ran == ["ours-seed0", "ours-of-3-seed0"]


def test_a_finished_cell_of_other_settings_ends_it_before_anything_is_run(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, only=["ours"], seeds=[0])
    _run(plan, FakeCells(plan))
    later = a_plan(tmp_path, "reward.margin=0.5", only=["ours"])
    runner = FakeCells(later)
    with pytest.raises(ConfigError, match=r"reward.margin: 0.02 -> 0.5"):
        _run(later, runner)
    assert runner.ran == []


def test_the_time_left_goes_by_what_was_painted(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    cells = {cell.name: cell for cell in plan.cells}
    done = {"ours-seed0": record(cells["ours-seed0"], 0.03, 0.03)}  # 60 s for 80 creatives
    assert seconds_for(cells["chance-seed1"], done.values()) == 60.0
    assert seconds_for(cells["two-seed0"], done.values()) is None
    assert seconds_left([cells["ours-seed0"], cells["chance-seed0"], cells["chance-seed1"]], done) == 120.0
    assert seconds_left(plan.cells, done) is None


def test_the_folder_of_a_run_is_no_ablations(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    prepared_folder(plan)
    prepared_folder(plan)
    plan.folder.write_text("config.yaml", "")
    with pytest.raises(UserError, match="holds a run, not an ablation"):
        prepared_folder(plan)
