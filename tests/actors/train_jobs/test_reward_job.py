"""`caig-rl reward train` as a user runs it: a Ray Train job of two ranks, one of which is killed in the middle."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.config.schema import ClicksConfig
from caig_rl.data.clicks.dataset import load_click_dataset
from caig_rl.data.clicks.pipeline import make_pair_files
from caig_rl.data.clicks.splits import HELDOUT
from caig_rl.evaluation.reward_evaluation import evaluate_pairs
from caig_rl.evaluation.reward_judging import judge_dataset
from caig_rl.imaging.views import save_png
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.loading import load_reward
from caig_rl.types import Product
from tests.conftest import REPOSITORY
from tests.tiny import make_tiny_policy

logger = logging.getLogger(__name__)

EPOCHS, SEEDS = 5, 5
PATIENCE_S = 900


def _write_log(folder: Path) -> ClicksConfig:
    """Bright creatives are clicked more."""
    rng = np.random.default_rng(0)
    rows = []
    for product in range(90):
        for creative in range(3):
            grey = int(rng.integers(20, 236))
            save_png(np.full((64, 64, 3), grey, np.uint8), folder / f"{product}-{creative}.png")
            clicks = int(rng.binomial(20_000, 0.02 + 0.03 * grey / 255))
            counts = {"impressions": 20_000, "clicks": clicks, "image": f"{product}-{creative}.png"}
            rows.append({"product": f"p{product}", "creative": f"c{creative}", "title": f"mug {product}", "category": "kitchen"} | counts)
    pq.write_table(pa.Table.from_pylist(rows), folder / "log.parquet")
    config = ClicksConfig(path=str(folder / "log.parquet"), out=str(folder / "pairs"), validation_share=0.25, heldout_share=0.25)
    make_pair_files(config)
    return config


def _rounds(metrics: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


def _heldout_accuracy(folder: Path, clicks: ClicksConfig) -> float:
    data = load_click_dataset(clicks.out, Path(clicks.path).parent, HELDOUT)
    return evaluate_pairs(judge_dataset(load_reward(folder), data).pairs).all_pairs.value


def _log_lines(job_folder: Path, role: str) -> list[dict[str, object]]:
    files = sorted((job_folder / "logs").glob(f"{role}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _wait_for(metrics: Path, epoch: int, job: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(_rounds(metrics)) < epoch:
        assert job.poll() is None, "the job ended before its time"
        assert time.monotonic() < deadline, f"no epoch {epoch} within {PATIENCE_S} s"
        time.sleep(0.2)


def _ranks(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The job's own ranks, among the processes that it started."""
    return [child for child in psutil.Process(job.pid).children(recursive=True) if "RayTrainWorker" in " ".join(child.cmdline())]


@contextmanager
def _job(
    folder: Path, clicks: ClicksConfig, backbone: Path, name: str, seed: int = 0, ends_with: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """`caig-rl reward train` to `folder/name`, its output in `folder/name.log`; at the end it has ended with that exit code."""
    settings = [
        f"clicks.path={clicks.path}",
        f"clicks.out={clicks.out}",
        f"run.seed={seed}",
        f"reward.train.out={folder / name}",
        f"reward.train.backbone={backbone}",
        f"reward.train.epochs={EPOCHS}",
        f"reward.train.patience={EPOCHS}",
        "reward.train.workers=2",
        "reward.train.zero_stage=2",
        "reward.train.batch_size=8",
        "reward.train.lr=2e-3",
        "cluster.num_cpus=2",
        "cluster.object_store_gib=0.2",
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    log = (folder / f"{name}.log").open("wb")
    command = [sys.executable, "-m", "caig_rl.cli", "reward", "train", *settings]
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder) as job:
        yield job
        assert job.wait(PATIENCE_S) == ends_with, (folder / f"{name}.log").read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_job_whose_rank_is_killed_goes_on_from_its_last_epoch_and_learns_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    clicks, backbone = _write_log(tmp_path), make_tiny_policy(tmp_path / "backbone")
    out, metrics = tmp_path / "model", tmp_path / "model-job" / "metrics.jsonl"
    with _job(tmp_path, clicks, backbone, "model") as job:
        # The row is there before Ray's controller, which polls every 2 s, has taken the checkpoint: the epoch may be run again, and
        # counts once.
        _wait_for(metrics, 2, job)
        ranks = _ranks(job)
        assert len(ranks) == 2
        os.kill(ranks[1].pid, signal.SIGKILL)
    rounds = _rounds(metrics)
    assert [row["round"] for row in rounds] == list(range(1, EPOCHS + 1))
    assert len({row["examples"] for row in rounds}) == 1
    assert max(row["validation_accuracy"] for row in rounds) > 0.7
    said = _log_lines(tmp_path / "model-job", "controller")
    assert {line["run"] for line in said} == {"model-job"}
    # An epoch that was run again was told again.
    assert {line["epoch"] for line in said if "epoch" in line} == set(range(1, EPOCHS + 1))
    measured = [line for line in _log_lines(tmp_path / "model-job", "trainer") if "validation" in str(line["message"])]
    assert {(line["rank"], line["epoch"]) for line in measured} == {(rank, epoch + 1) for rank in (0, 1) for epoch in range(EPOCHS)}
    model = load_reward(resolve_model_folder(str(out), "reward"))
    dark, bright = (np.full((64, 64, 3), value, np.uint8) for value in (40, 220))
    assert model.compare([Product("p", "mug 3", "kitchen")], [bright], [dark])[0] > 0.0
    for seed in range(SEEDS):
        with _job(tmp_path, clicks, backbone, f"undisturbed-{seed}", seed):
            pass
    for row, same in zip(rounds, _rounds(tmp_path / "undisturbed-0-job" / "metrics.jsonl"), strict=True):
        assert row == pytest.approx(same, rel=1e-4)
    accuracy = _heldout_accuracy(out, clicks)
    found = {f"seed {seed}": _heldout_accuracy(tmp_path / f"undisturbed-{seed}", clicks) for seed in range(SEEDS)}
    logger.info("held-out accuracy after the kill %.3f, undisturbed %s", accuracy, found)
    assert min(found.values()) <= accuracy <= max(found.values())


@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_job_says_that_it_can_go_on_and_does(number: signal.Signals, tmp_path: Path) -> None:
    clicks, backbone = _write_log(tmp_path), make_tiny_policy(tmp_path / "backbone")
    metrics, log = tmp_path / "model-job" / "metrics.jsonl", tmp_path / "model.log"
    with _job(tmp_path, clicks, backbone, "model", ends_with=75) as job:
        _wait_for(metrics, 2, job)
        job.send_signal(number)
    assert "goes on after the last epoch (exit code 75)" in " ".join(log.read_text().split())
    assert "absl" not in log.read_text() and "Traceback" not in log.read_text()
    with _job(tmp_path, clicks, backbone, "model"):
        pass
    assert "going on after epoch" in log.read_text()
    assert [row["round"] for row in _rounds(metrics)] == list(range(1, EPOCHS + 1))
