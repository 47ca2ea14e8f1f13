"""The tables of reward models run from start to end, at a size whose figures mean nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"
SCRIPT = REPOSITORY / "benchmarks" / "reward_tables.py"


def test_cells_of_another_plan_or_of_other_rates_are_not_taken_for_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables, world = importlib.import_module("reward_tables"), importlib.import_module("reward_world")
    plan = world.Plan()
    folder = tables.plan_folder(tmp_path, plan)
    assert tables.plan_folder(tmp_path, world.Plan()) == folder
    other = tables.plan_folder(tmp_path, replace(plan, epochs=plan.epochs + 1))
    monkeypatch.setattr(tables, "_rates", lambda form: {"lr": 1.0})
    assert len({folder, other, tables.plan_folder(tmp_path, plan)}) == 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tables_are_printed_and_kept_cells_are_not_computed_again(tmp_path: Path):
    command = [sys.executable, str(SCRIPT), "--tiny", "--no-judge", "--workers", "0", "--seeds", "0", "--out", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert first.returncode == 0, first.stderr[-3000:]
    cells = {file.name: json.loads(file.read_text()) for file in tmp_path.glob("plan-*/*.json")}
    assert {"scorer-0.json", "side_by_side-0.json", "vam-0.json", "cg4ctr-0.json"} <= set(cells)
    assert cells["untrained-0.json"]["constant"] == 0.5
    assert len({cells[f"{name}-1000-0.json"]["pairs"] for name in ("official", "all", "significant", "posterior")}) == 1
    times = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("plan-*/*.json")}
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("plan-*/*.json")} == times
    tables = first.stdout.partition("\nHeld-out")[2]
    assert tables
    assert again.stdout.partition("\nHeld-out")[2] == tables
    for word in ("scorer", "side_by_side", "posterior", "ceiling"):
        assert word in tables
