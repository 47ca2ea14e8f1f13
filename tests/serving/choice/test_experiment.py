"""From the event log to one row a visitor."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.choice.experiment import experiments, read_experiment
from caig_rl.serving.events.click_log import IMPRESSION_SCHEMA, read_impressions
from caig_rl.serving.events.event_log import EventLog
from caig_rl.serving.events.reported_events import Event
from tests.serving.events.test_reported_events import SHOWN


def table(rows: list[tuple[str, str, float, str, str, bool]]) -> pa.Table:
    """visitor, arm, share of that arm, experiment, category, clicked."""
    base = {name: getattr(SHOWN, name) for name in IMPRESSION_SCHEMA.names if name != "clicked"}
    names = ("visitor", "arm", "arm_share", "experiment", "category", "clicked")
    made = [{**base, **dict(zip(names, row, strict=True)), "time": float(number)} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(made, schema=IMPRESSION_SCHEMA)


ROWS = [
    ("a", "live", 0.9, "v2", "mugs", True),
    ("b", "candidate", 0.1, "v2", "mugs", False),
    ("a", "live", 0.9, "v2", "shoes", False),
    ("c", "live", 1.0, "", "mugs", True),
    ("b", "candidate", 0.1, "v2", "mugs", True),
    ("a", "candidate", 0.5, "v2", "mugs", True),
    ("d", "candidate", 0.5, "v3", "mugs", True),
]


def test_visitors_are_counted_once_in_their_first_arm_and_by_category():
    found = read_experiment(table(ROWS), "v2")
    assert found.visitors.tried.tolist() == [False, True]
    assert found.visitors.share.tolist() == pytest.approx([0.1, 0.1])
    assert found.visitors.impressions.tolist() == [2, 2]
    assert found.visitors.clicks.tolist() == [1, 1]
    assert found.left_out == 1
    assert {name: (part.impressions.tolist(), part.clicks.tolist()) for name, part in found.by_category.items()} == {
        "mugs": ([1, 2], [1, 1]),
        "shoes": ([1], [0]),
    }


def test_the_latest_experiment_comes_first_and_an_unknown_one_is_empty():
    assert experiments(table(ROWS)) == ["v3", "v2"]
    assert experiments(table([])) == []
    assert len(read_experiment(table(ROWS), "nope").visitors.tried) == 0


def fill_log(root: Path, *, keep: float = 1.0) -> None:
    """An experiment with a better candidate; `keep`: share of the candidate's visitors that reach the log."""
    rng, routing, events = np.random.default_rng(0), Routing("v1", "v2", 0.5), []
    for number in range(9000):
        arm, share = routing.arm_of(str(number))
        if arm == "candidate" and rng.random() > keep:
            continue
        category = ("mugs", "shoes")[number % 2]
        one = replace(SHOWN, visitor=str(number), arm=arm, arm_share=share, experiment="v2", category=category, time=float(number))
        for k in range(3):
            shown = replace(one, nonce=f"{number}-{k}")
            events.append(Event("impression", shown, shown.time))
            if rng.random() < (0.03 if arm == "candidate" else 0.02):
                events.append(Event("click", shown, shown.time + 1))
    EventLog(root).append(events)


def test_the_command_reads_the_services_own_log_and_says_who_is_better(tmp_path: Path):
    fill_log(tmp_path)
    assert read_impressions(tmp_path).num_rows == 27_000
    result = CliRunner().invoke(app, ["evaluate", "ab", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "candidate better" in result.stdout
    assert "mugs" in result.stdout and "shoes" in result.stdout


def test_a_broken_split_fails_the_command(tmp_path: Path):
    fill_log(tmp_path, keep=0.8)
    result = CliRunner().invoke(app, ["evaluate", "ab", str(tmp_path)])
    assert result.exit_code == 1
    assert "sample ratio" in result.stdout


def test_without_an_experiment_the_command_says_how_to_start_one(tmp_path: Path):
    result = CliRunner().invoke(app, ["evaluate", "ab", str(tmp_path)])
    assert result.exit_code == 1
    assert "serve promote" in result.stderr
