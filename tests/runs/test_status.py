"""How a run stands, by its folder."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caig_rl.cli import app
from caig_rl.errors import UserError
from caig_rl.runs.driver_lock import held
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.status import read_status
from caig_rl.types import Admission, Outcome

LIVE = {
    "rounds_done": 1,
    "rounds_planned": 4,
    "version": 1,
    "stage_seconds": {"render": 30.0, "idle": 10.0},
    "slots": {"in_flight": 3, "free": 5},
    "products": {"trained": 4, "failed": 1},
    "pools": {"policy": {"desired": 2, "ready": 1, "busy": 1, "replaced": 1, "versions": {"policy-0": 1}}},
    "staleness": {"0": 4},
    "syncs": 3,
    "verified": 3,
    "counts": {"pairs": 4, "images": 20, "tokens": 400},
    "written_at": 1000.0,
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path), "job")
    folder.prepare()
    folder.write_text("config.yaml", "run: {}\n")
    return folder


def fill(folder: RunFolder) -> None:
    folder.write_text("live.json", json.dumps(LIVE))
    folder.append_metrics({"round": 0, "pairs": 4, "kl": 0.25, "loss": None})
    ledger = Ledger()
    for number in range(3):
        ledger.admit(Admission(number, 0, f"mug-{number}", number))
        ledger.finish(number, Outcome.FAILED, "unusable", message="the product was extended")
    folder.write_ledger(ledger.to_table())
    folder.close()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="not a run folder"):
        read_status(RunFolder(str(tmp_path), "nothing"))


def test_a_run_that_has_written_nothing_yet_is_starting(folder: RunFolder):
    assert read_status(folder).state == "starting"


def test_a_run_that_stopped_writing_is_called_silent(folder: RunFolder):
    fill(folder)
    assert read_status(folder, now=1005.0).state == "starting"
    silent = read_status(folder, now=1500.0)
    assert (silent.state, silent.silent_s) == ("silent", 500.0)


@pytest.mark.parametrize(
    ("has_config", "state", "words"),
    [
        (False, "not begun", "ended before the run began; start it again"),
        (True, "gone", "is gone; go on by the same command with --resume-if-any"),
    ],
)
def test_a_run_whose_driver_ended_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_config: bool, state: str, words: str
):
    """It was refused, or killed, before it had written its config or after; while it lives, it is starting."""
    monkeypatch.setenv("COLUMNS", "200")
    folder = RunFolder(str(tmp_path), "job")
    folder.prepare()
    with held(folder):
        if has_config:
            folder.write_text("config.yaml", "run: {}\n")
        assert read_status(folder).state == "starting"
    assert read_status(folder).state == state
    result = CliRunner().invoke(app, ["status", folder.url, "--once"])
    assert f"pid {os.getpid()}" in result.stdout and words in result.stdout


def test_the_last_failures_are_the_newest_rows_of_the_ledger(folder: RunFolder):
    fill(folder)
    assert [row["product_id"] for row in read_status(folder, failures=2).failures] == ["mug-1", "mug-2"]


def test_the_table_shows_rounds_pools_versions_staleness_and_failures(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    fill(folder)
    monkeypatch.setenv("COLUMNS", "160")
    result = CliRunner().invoke(app, ["status", folder.url, "--once"])
    assert result.exit_code == 0, result.output
    for words in ("round 1 of 4", "policy-0: 1", "render 75%", "0.50 images/s", "4 pairs 0 behind", "unusable", "0.25"):
        assert words in result.stdout, words


def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_1():
    result = CliRunner().invoke(app, ["status", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
