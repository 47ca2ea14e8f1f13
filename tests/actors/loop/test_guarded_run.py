"""A whole run whose guard turns in its third round. The command is real, its workers have no models."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from caig_rl.models.folders import resolve_model_folder
from tests.actors.fake_fleet import GUARD_OF_ROUND, IDS_FILE, digest_of
from tests.actors.loop.test_driver_loss import SMALL

REPOSITORY = Path(__file__).parents[3]
PRODUCTS, SHARDS, ENDED = 8, 4, 3
GUARD = f"guard.reward={resolve_model_folder('nano', 'reward')}"
"""Any folder that is one: the fake scorer loads none."""
SETTINGS = [*SMALL, "rollout.rounds=5", "learner.checkpoint_every=9", "learner.keep_checkpoints=1", GUARD]


def _train(root: Path, *options: str, when: tuple[int, str, int] = (0, "learn", 0), code: int = 0) -> str:
    """What the command said. `when`: a signal, the stage, and at which of its shards it comes."""
    command = [sys.executable, "-m", "tests.actors.fake_cli", *map(str, when), "train", "configs/demo.yaml", "--resume-if-any"]
    settings = [f"run.root={root}", "run.name=run", *SETTINGS, *options]
    done = subprocess.run([*command, *settings], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def _check_end(root: Path, version: int, trained: int = ENDED * PRODUCTS) -> dict[str, Any]:
    """It ended after the third round, and its result is `version`, whose checkpoint is still there."""
    summary = json.loads((root / "run" / "summary.json").read_text())
    assert (summary["status"], summary["rounds"], summary["result"]["rounds"], summary["result"]["by"]) == ("done", ENDED, version, "guard")
    assert summary["guard"]["turned"] and summary["guard"]["stopped"] and summary["guard"]["best_version"] == version
    learned_from = list(range(version * PRODUCTS))
    assert json.loads((root / "run" / "checkpoints" / str(version) / IDS_FILE).read_text()) == learned_from
    assert summary["policy"]["sha256"] == digest_of(learned_from) and summary["policy_version"] == summary["result"]["version"]
    assert (summary["policy"]["kl"], summary["policy"]["kl_ci95"]) == (0.0, [0.0, 0.0]), "the fake reference is the fake policy"
    assert summary["products"]["trained"] == trained and summary["products"]["in_flight"] == 0
    means = [json.loads(line)["guard_score"] for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    assert means == pytest.approx(GUARD_OF_ROUND, abs=0.1)
    return summary


def test_a_run_whose_guard_turns_stops_after_that_round_and_gives_out_the_best_version(tmp_path: Path) -> None:
    """One checkpoint is kept and none is due before the end: the best version's stays all the same."""
    said = _train(tmp_path)
    summary = _check_end(tmp_path, version=1)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["1", "3"]
    assert "the guard has turned" in said and "The guard turned and stopped the run after 3 rounds" in said.replace("\n", " ")
    again = _train(tmp_path)
    assert "already done: 3 round(s); its guard stopped it" in again
    assert _check_end(tmp_path, version=1) == summary


@pytest.mark.slow
@pytest.mark.parametrize(
    "painted",
    [
        1 + 2 * SHARDS + 2,  # in the third round
        1 + ENDED * SHARDS + 1,  # in the final measurement
    ],
)
def test_a_driver_that_is_killed_decides_the_same_when_it_goes_on(tmp_path: Path, painted: int) -> None:
    _train(tmp_path, when=(signal.SIGKILL, "render", painted), code=-signal.SIGKILL)
    _train(tmp_path)
    _check_end(tmp_path, version=1)


@pytest.mark.slow
def test_at_a_staleness_of_one_the_round_that_is_under_way_expires(tmp_path: Path) -> None:
    """The best creatives, those of the second round, were written by the initial policy."""
    _train(tmp_path, "rollout.max_staleness=1")
    summary = _check_end(tmp_path, version=0)
    assert summary["products"]["expired"] == PRODUCTS
    rows = pq.read_table(tmp_path / "run" / "ledger.parquet").to_pylist()
    assert {row["message"] for row in rows if row["outcome"] == "expired"} == {"the guard ended the run before this was learned"}


@pytest.mark.slow
def test_without_guard_stop_the_run_goes_on_to_its_last_round(tmp_path: Path) -> None:
    said = _train(tmp_path, "guard.stop=false")
    assert "the run goes on (guard.stop)" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["rounds"], summary["result"]["rounds"], summary["guard"]["stopped"]) == (5, 1, False)
