"""A run that was killed and goes on ends with the bits of one left alone. Through the command line, with the embedded models."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch

from tests.test_end_to_end import CAIG, REPOSITORY

ROUNDS = 2
PRODUCTS = 4
SMALL = [
    f"rollout.rounds={ROUNDS}",
    f"rollout.products_per_round={PRODUCTS}",
    "rollout.shard_size=2",
    "rollout.candidates=2",
    "reward.margin=0",
    "evaluation.products=2",
    "evaluation.prompts_per_product=1",
    "evaluation.bootstrap=100",
    "evaluation.gallery=1",
    "pools.renderer.workers=1",
    "learner.batch_size=4",
    "learner.micro_batch_size=4",
    "cluster.num_cpus=2",
    "cluster.object_store_gib=0.2",
]
"""Almost all of the time goes into starting processes, so the run is as small as one that is killed in two rounds can be."""
KILL_SEED = 11
RAYS_OWN = ("ray::DashboardA", "ray::RuntimeEnv", "raylet", "gcs_server")
"""Names, as long as the kernel keeps them, of what Ray may leave for some seconds where its head was killed."""
GONE_LIMIT_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Job:
    """`caig-rl train` as a job controller runs it: started, followed by its output, signalled."""

    def __init__(self, root: Path, name: str, *options: str) -> None:
        self.log = root / f"{name}-{time.monotonic_ns()}.log"
        command = [CAIG, "train", "configs/demo.yaml", f"run.root={root}", f"run.name={name}", *SMALL, *options]
        with self.log.open("wb") as output:
            environment = os.environ | {"PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, env=environment)

    def wait_for(self, text: str) -> None:
        """Until the output holds `text`, or the run has ended."""
        while text not in self.log.read_text() and self.process.poll() is None:
            time.sleep(0.05)

    def signal(self, number: int) -> int:
        """Send it to the driver alone; returns the exit code once all of ours that it had started is gone."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.send_signal(number)
        code = self.process.wait(timeout=120)
        limit = time.monotonic() + GONE_LIMIT_S
        while (ours := [one for one in family if is_alive(one) and not name_of(one).startswith(RAYS_OWN)]) and time.monotonic() < limit:
            time.sleep(0.1)
        # The next start must not wait for what Ray itself forgot, and a failed test must leave nothing behind.
        for process in family:
            if is_alive(process):
                process.kill()
        assert not ours, f"left behind: {ours}"
        return code

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self.process.wait(timeout=560) == 0, self.log.read_text()[-4000:]


def is_alive(process: psutil.Process) -> bool:
    """False also for an orphan that nobody has buried yet, and for one whose id is another's by now."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def name_of(process: psutil.Process) -> str:
    """Empty where it is gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("undisturbed")
    Job(root, "whole").finish()
    yield root / "whole"


def summary_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def adapter_hash(run: Path) -> str:
    """Over the trained tensors of the last checkpoint, as the learner holds them."""
    state = torch.load(run / f"checkpoints/{ROUNDS}/learner/learner/mp_rank_00_model_states.pt", weights_only=False)
    digest = hashlib.sha256()
    for name, tensor in sorted(state["module"].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    assert state["module"]
    return digest.hexdigest()


def check_same_end(run: Path, undisturbed: Path) -> None:
    found, expected = summary_of(run), summary_of(undisturbed)
    assert found["status"] == "done"
    assert adapter_hash(run) == adapter_hash(undisturbed)
    weights = f"checkpoints/{ROUNDS}/policy/model.safetensors"
    assert (run / weights).read_bytes() == (undisturbed / weights).read_bytes()
    assert found["policy"]["sha256"] == expected["policy"]["sha256"]
    assert (found["products"], found["ctr"]) == (expected["products"], expected["ctr"])
    rows = [row for row in pq.read_table(run / "ledger.parquet").to_pylist() if row["admission_id"] is not None]
    assert [row["admission_id"] for row in rows] == list(range(PRODUCTS * ROUNDS))


def check_lineage(run: Path) -> None:
    """Every trained pair is in the surviving weights once: by the version that its round made."""
    rows = [row for row in pq.read_table(run / "ledger.parquet").to_pylist() if row["outcome"] == "trained"]
    assert rows and all(int(row["learned"].split(".")[1]) == row["finished_round"] + 1 for row in rows)
    assert len(np.unique([row["admission_id"] for row in rows])) == len(rows)


def test_a_driver_killed_at_three_random_moments_ends_with_the_bits_of_one_left_alone(undisturbed: Path, tmp_path: Path) -> None:
    """The first while the workers start, before there is a checkpoint, so that the run begins anew; the others within a round.

    Every start is the one command that a job controller knows.
    """
    moments = np.random.default_rng(KILL_SEED)
    for phase, within_s in (("starting\n", 8.0), (f"round 1 of {ROUNDS}", 2.0), (f"round 2 of {ROUNDS}", 2.0)):
        job = Job(tmp_path, "killed", "--resume-if-any")
        job.wait_for(phase)
        time.sleep(float(moments.uniform(0.0, within_s)))
        assert job.signal(signal.SIGKILL) == -signal.SIGKILL, "it had ended before it was killed"
    Job(tmp_path, "killed", "--resume-if-any").finish()
    assert not summary_of(tmp_path / "killed")["policy_version"].startswith("0."), "it never went on from a checkpoint"
    check_same_end(tmp_path / "killed", undisturbed)
    check_lineage(tmp_path / "killed")


def test_a_terminated_run_exits_75_in_mid_round_and_loses_nothing(undisturbed: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, "asked")
    job.wait_for(f"round 1 of {ROUNDS}")
    assert job.signal(signal.SIGTERM) == 75, job.log.read_text()[-4000:]
    assert summary_of(tmp_path / "asked")["status"] == "stopped"
    Job(tmp_path, "asked", "--resume").finish()
    check_lineage(tmp_path / "asked")
    check_same_end(tmp_path / "asked", undisturbed)
