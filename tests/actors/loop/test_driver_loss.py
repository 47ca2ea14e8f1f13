"""The driver goes in mid-round, by SIGKILL and by SIGTERM, and the same command goes on. The command is real, its workers have no models.

`tests/test_resume.py` does it with the embedded models, and compares weights bit for bit.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from caig_rl.types import PolicyVersion
from tests.actors.fake_fleet import IDS_FILE

REPOSITORY = Path(__file__).parents[3]
ROUNDS, PRODUCTS, SHARDS = 3, 8, 4
SMALL = [
    f"rollout.rounds={ROUNDS}",
    f"rollout.products_per_round={PRODUCTS}",
    f"rollout.shard_size={PRODUCTS // SHARDS}",
    "rollout.candidates=2",
    "reward.kind=random",
    "reward.margin=0",
    "world.judge=false",
    "evaluation.products=2",
    "evaluation.prompts_per_product=1",
    "evaluation.bootstrap=100",
    "evaluation.gallery=0",
    "pools.renderer.workers=1",
    "learner.batch_size=4",
    "learner.micro_batch_size=4",
    "cluster.num_cpus=4",
    "cluster.object_store_gib=0.1",
]


pytestmark = pytest.mark.slow


def _train(root: Path, *options: str, when: tuple[int, str, int] = (0, "learn", 0), code: int = 0) -> None:
    """The one command that a job controller knows, which must exit with `code`. `when`: signal, stage, and at which of its shards."""
    command = [sys.executable, "-m", "tests.actors.fake_cli", *map(str, when), "train", "configs/demo.yaml", "--resume-if-any"]
    settings = [f"run.root={root}", "run.name=run", *SMALL, *options]
    done = subprocess.run([*command, *settings], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _summary(root: Path) -> dict[str, Any]:
    return json.loads((root / "run" / "summary.json").read_text())


def _check_end(root: Path) -> None:
    """It went on from a checkpoint; every admission was trained, and the weights' own list of what they learned from holds each once."""
    summary = _summary(root)
    assert (summary["status"], summary["policy_version"]) == ("done", f"1.{ROUNDS}")
    everything = list(range(ROUNDS * PRODUCTS))
    assert json.loads((root / f"run/checkpoints/{ROUNDS}" / IDS_FILE).read_text()) == everything
    rows = pq.read_table(root / "run" / "ledger.parquet").to_pylist()
    assert [row["admission_id"] for row in rows] == everything and {row["outcome"] for row in rows} == {"trained"}
    assert all(PolicyVersion.parse(row["learned"]).number == row["round"] + 1 for row in rows)
    metrics = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in metrics] == list(range(ROUNDS))


def test_a_driver_killed_in_mid_round_goes_on_from_its_checkpoint_and_each_pair_is_learned_once(tmp_path: Path) -> None:
    """By SIGKILL, when the second round is learned and its weights are not live; shards in flight in the checkpoint are issued again."""
    _train(tmp_path, when=(signal.SIGKILL, "learn", 2), code=-signal.SIGKILL)
    _train(tmp_path)
    _check_end(tmp_path)


def test_a_driver_that_is_terminated_in_mid_round_keeps_what_is_done_and_exits_75(tmp_path: Path) -> None:
    """As the second round's first shard is painted; no checkpoint is due before the end, so it has to write one by itself."""
    painted_before = 1 + SHARDS  # the evaluation's shard and the first round's
    due = "learner.checkpoint_every=9"
    _train(tmp_path, due, when=(signal.SIGTERM, "render", painted_before + 1), code=75)
    assert (_summary(tmp_path)["status"], _summary(tmp_path)["rounds"]) == ("stopped", 1)
    assert (tmp_path / "run" / "checkpoints" / "1" / "manifest.json").exists()
    _train(tmp_path, due)
    _check_end(tmp_path)
