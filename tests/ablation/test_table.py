from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.ablation.records import CellRecord
from caig_rl.ablation.table import arm_summaries, differences, markdown
from tests.ablation.made_up import a_plan, record


def _records(folder: Path) -> tuple[list[CellRecord], object]:
    plan = a_plan(folder)
    cells = {cell.name: cell for cell in plan.cells}
    made = [
        record(cells["ours-seed0"], 0.03, 0.03, kl=1.0),
        record(cells["ours-seed1"], 0.034, 0.034, kl=2.0),
        record(cells["chance-seed0"], 0.02, 0.022),
        record(cells["chance-seed1"], 0.018, 0.024),
        record(cells["two-seed0"], 0.025, 0.025),
    ]
    return made, plan.ablation


def test_an_arm_is_the_mean_of_its_seeds_with_their_t_interval(tmp_path: Path) -> None:
    records, ablation = _records(tmp_path)
    two, ours, chance = arm_summaries(ablation, records)  # type: ignore[arg-type]
    assert (two.name, ours.name, chance.name) == ("two", "ours", "chance")
    assert ours.lift.mean == pytest.approx(0.6) and ours.seeds == (0, 1)
    assert ours.lift.interval == pytest.approx((0.6 - 12.7062 * 0.1, 0.6 + 12.7062 * 0.1), abs=1e-4)  # t(1 df) times 0.1414 / sqrt(2)
    assert ours.kl is not None and ours.kl.mean == 1.5
    assert (two.per_creative, two.lift.interval) == (2, (0.25, 0.25))  # one seed: over products, which are all alike


def test_differences_are_paired_by_seed_and_product(tmp_path: Path) -> None:
    records, ablation = _records(tmp_path)
    two, chance = differences(ablation, records)  # type: ignore[arg-type]
    assert two.overall.mean == pytest.approx(-0.25) and list(two.by_seed) == [0]
    first = chance.by_seed[0]
    assert first.mean == pytest.approx(-0.45)  # (-0.01 and -0.008) over the initial 0.02
    assert first.interval == pytest.approx((-0.45 - 12.7062 * 0.05, -0.45 + 12.7062 * 0.05), abs=1e-4)
    assert chance.overall.mean == pytest.approx((-0.45 - 0.65) / 2) and chance.overall.num == 2


def test_the_table_says_lift_way_and_what_was_painted(tmp_path: Path) -> None:
    records, ablation = _records(tmp_path)
    text = markdown(ablation, records)  # type: ignore[arg-type]
    assert text.startswith("# ab\n\nMean over seeds of 2 held-out products each")
    row = next(line for line in text.splitlines() if line.startswith("| ours "))
    assert "| ours | 2 | +60.0\u00a0% (" in row and "0.500 → 0.750" in row and row.endswith("| 80 | 1 |")
    assert "| two | \u221225.0 (\u221225.0 to \u221225.0) | 0: \u221225.0" in text


def test_a_table_of_nothing_says_so(tmp_path: Path) -> None:
    assert "No cell is finished." in markdown(a_plan(tmp_path).ablation, [])
