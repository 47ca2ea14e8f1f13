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

ROUNDS = 3
SMALL = [
    f"rollout.rounds={ROUNDS}",
    "rollout.products_per_round=8",
    "rollout.shard_size=4",
    "rollout.candidates=2",
    "evaluation.products=2",
    "evaluation.gallery=1",
    "learner.batch_size=4",
    "cluster.num_cpus=2",
]
KILL_SEED = 11
RAY_AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")

pytestmark = pytest.mark.slow


class Job:
    """`caig-rl train` as a job controller runs it: started, watched by its output, signalled."""

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
        """Send it to the driver alone; returns the exit code once it and all it started are gone."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.send_signal(number)
        code = self.process.wait(timeout=120)
        _, left = psutil.wait_procs(family, timeout=60)
        # Orphans that nobody has buried yet are dead all the same.
        alive = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        for process in alive:
            process.kill()
        # Ray's own agents notice a killed head late; what was ours must be gone.
        ours = [process for process in alive if not process.name().startswith(RAY_AGENTS)]
        assert not ours, f"left behind: {ours}"
        return code

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self.process.wait(timeout=560) == 0, self.log.read_text()[-4000:]


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
    assert [row["admission_id"] for row in rows] == list(range(8 * ROUNDS))


def test_a_driver_killed_at_three_random_moments_ends_with_the_bits_of_one_left_alone(undisturbed: Path, tmp_path: Path) -> None:
    """The first before there is a checkpoint, so that the run begins anew; the others within a round."""
    moments = np.random.default_rng(KILL_SEED)
    options: tuple[str, ...] = ()
    for phase in ("measuring the initial policy", f"round 2 of {ROUNDS}", f"round 3 of {ROUNDS}"):
        job = Job(tmp_path, "killed", *options)
        job.wait_for(phase)
        time.sleep(float(moments.uniform(0.0, 4.0)))
        assert job.signal(signal.SIGKILL) == -signal.SIGKILL, "it had ended before it was killed"
        options = ("--resume",)
    Job(tmp_path, "killed", "--resume").finish()
    assert not summary_of(tmp_path / "killed")["policy_version"].startswith("0."), "it never went on from a checkpoint"
    check_same_end(tmp_path / "killed", undisturbed)


def test_a_terminated_run_exits_75_in_mid_round_and_loses_nothing(undisturbed: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, "asked")
    job.wait_for(f"round 2 of {ROUNDS}")
    assert job.signal(signal.SIGTERM) == 75, job.log.read_text()[-4000:]
    assert summary_of(tmp_path / "asked")["status"] == "stopped"
    Job(tmp_path, "asked", "--resume").finish()
    check_same_end(tmp_path / "asked", undisturbed)
