"""What a training job reckons with before it runs, and what it says while it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from actors.cluster.capacity import CapacityError, Node, refuse
from actors.train_jobs.job import job_needs, rows_per_rank, steps_per_epoch
from actors.train_jobs.placement_wait import ranks_have_places
from caig_rl.config.training import TrainJobConfig
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(("rows", "ranks", "batch"), [(100, 1, 16), (96, 1, 16), (3, 1, 16), (101, 2, 8), (7, 2, 16), (5, 4, 2)])
def test_the_schedule_is_as_long_as_the_batches_that_a_rank_gets(rows: int, ranks: int, batch: int):
    own = list(range(rows // ranks))
    batches = [own[start : start + rows_per_rank(batch, ranks)] for start in range(0, len(own), rows_per_rank(batch, ranks))]
    assert steps_per_epoch(rows, ranks, batch) == len(batches) > 0


def test_ranks_that_leave_no_cpu_to_read_the_files_by_are_refused():
    refuse(job_needs(TrainJobConfig(workers=2, num_cpus=0.5)), [Node({"CPU": 2})])
    with pytest.raises(CapacityError, match=r"training rank 2 x 1 \+ reading the files 1 x 1 = 3 CPUs, and the cluster has 2 on 1 node"):
        refuse(job_needs(TrainJobConfig(workers=2, num_cpus=1)), [Node({"CPU": 2})])


def test_ranks_have_places_once_their_group_is_placed(cluster: None):
    assert not ranks_have_places()
    waiting, placed = placement_group([{"CPU": 100.0}]), None
    try:
        assert not ranks_have_places()
        placed = placement_group([{"CPU": 0.1}])
        ray.get(placed.ready())
        assert ranks_have_places()
    finally:
        for group in (waiting, placed):
            if group is not None:
                remove_placement_group(group)


@ray.remote(num_cpus=2)
class Tenant:
    """Holds every CPU of the cluster."""

    def is_in(self) -> bool:
        return True


def test_a_job_says_what_it_waits_for_on_a_full_cluster_and_ends_with_what_it_lacked(cluster: None, tmp_path: Path):
    tenant = Tenant.remote()
    assert ray.get(tenant.is_in.remote())
    command = [sys.executable, "-m", "tests.actors.train_jobs.crowded_job", ray.get_runtime_context().gcs_address, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    try:
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=200)
    finally:
        ray.kill(tenant)
    assert done.returncode == 3, done.stderr[-3000:]
    waits = [line for line in done.stderr.splitlines() if line.startswith("waiting ")]
    assert len(waits) >= 2, done.stderr[-3000:]
    assert "s for 1 of 1 training worker(s) to find a place and load; the cluster has 2 CPUs (0 free)" in waits[0]
    (refused,) = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert "waited 6 s for 1 training worker(s) of 0.5 CPU each; the cluster has 2 CPUs (0 free)" in refused
    (log,) = (tmp_path / "model-job" / "logs").glob("controller-*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["run"], line["role"]) for line in lines} == {("model-job", "controller")}
    assert [line["level"] for line in lines].count("WARNING") >= 2
    assert lines[-1]["message"].startswith("the job failed: waited 6 s for 1 training worker(s)")
