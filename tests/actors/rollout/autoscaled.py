"""`python -m tests.actors.rollout.autoscaled FOLDER`: a run that grows by Ray's autoscaler (its fake node provider); fake models.

Each renderer worker needs a node of its own. Painting is slow in the first rounds, so the pool grows to its most and nodes appear; later
the learner is the slow stage, so the pool shrinks and nodes go. It writes the trace to FOLDER/trace.json, and the report has the decisions.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

import pyarrow as pa
import ray
from ray._private.services import get_node_ip_address
from ray.exceptions import RayError

from actors.loop.online_loop import OnlineLoop
from actors.loop.run import run
from actors.rollout.shard import Shard
from caig_rl.config.schema import Config
from caig_rl.reports.run_report import write_report
from caig_rl.runs.folder import RunFolder
from tests.actors.fake_fleet import FakeRank, FakeRenderer, LightSource, use_fakes
from tests.ray_head import free_ports

TRACE = "trace.json"
MOST = 3
BUSY_ROUNDS, ROUNDS = 4, 9
HEAD_ID = "f" * 51 + "00000"
HEAD_TYPE = "ray.head.default"  # the fake provider knows its head by this name only
START_LIMIT_S = 120.0


class SlowRenderer(FakeRenderer):
    """Slow in the first rounds."""

    def seconds_for(self, shard: Shard) -> float:
        """One second a shard, then next to nothing."""
        return 1.0 if shard.admissions[0].round < BUSY_ROUNDS else 0.02


class SlowRank(FakeRank):
    """Slow in the later rounds."""

    def seconds_for(self, table: pa.Table) -> float:
        """Long enough for the pool to shrink by two, and for their nodes to be found idle."""
        return 0.05 if table.column("round")[0].as_py() < BUSY_ROUNDS else 12.0


def cluster_config(address: str) -> dict[str, Any]:
    """A head of one CPU, and as many nodes of one CPU as the pool may use, which "start" as processes of this machine."""
    nothing: dict[str, Any] = {name: [] for name in ("initialization_commands", "setup_commands", "head_setup_commands")}
    nothing |= {name: [] for name in ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")}
    nothing |= {"cluster_synced_files": [], "rsync_exclude": [], "rsync_filter": [], "file_mounts": {}, "auth": {}, "docker": {}}
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": address,
        "head_node_id": HEAD_ID,
        **dict.fromkeys(("use_node_id_as_ip", "disable_node_updaters", "disable_launch_config_check", "launch_multiple"), True),
    }
    rollout = {"resources": {"CPU": 1, "object_store_memory": 80 * 2**20}, "node_config": {}, "min_workers": 0, "max_workers": MOST}
    return nothing | {
        "cluster_name": "fake",
        "provider": provider,
        "max_workers": MOST,
        "head_node_type": HEAD_TYPE,
        "available_node_types": {HEAD_TYPE: {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}, "rollout": rollout},
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.05,
        "file_mounts_sync_continuously": False,
    }


@contextmanager
def autoscaling_head() -> Iterator[str]:
    """Address of the head; what it started ends with it, by its process group."""
    (port, client, agent) = free_ports(3)
    address = f"{get_node_ip_address()}:{port}"
    own = {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID, "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    os.environ.update(RAY_FAKE_CLUSTER="1", RAY_enable_autoscaler_v2="1")
    environment = os.environ | own
    with tempfile.TemporaryDirectory(prefix="ray-fake-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        file, log = Path(folder, "cluster.json"), Path(folder, "head.log")
        file.write_text(json.dumps(cluster_config(address)))
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder}"]
        command += [f"--autoscaling-config={file}", "--num-cpus=1", "--object-store-memory=100000000", "--include-dashboard=false"]
        command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats"]
        with log.open("w") as output:
            head = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            _connect(address, head, log)
            yield address
        finally:
            ray.shutdown()
            os.killpg(head.pid, signal.SIGTERM)
            time.sleep(3.0)
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def _connect(address: str, head: subprocess.Popen, log: Path) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        assert head.poll() is None, log.read_text()[-2000:]
        try:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            return
        except (OSError, RuntimeError, ValueError, RayError):  # it is not up yet
            time.sleep(1.0)
    raise AssertionError(f"no head at {address}: {log.read_text()[-2000:]}")


def config_of(folder: Path) -> Config:
    """Renderers need a whole CPU, which the head has not left; the rest shares the head's."""
    small = {"num_cpus": 0.15}
    return Config.model_validate(
        {
            "run": {"name": "elastic", "root": str(folder)},
            "reward": {"margin": 0.0},
            "rollout": {"rounds": ROUNDS, "products_per_round": 24, "candidates": 2, "shard_size": 2},
            "learner": {"batch_size": 4, "micro_batch_size": 4, **small},
            "pools": {
                "policy": small,
                "scorer": small,
                "renderer": {"workers": 1, "max_workers": MOST, "num_cpus": 1.0},
                "scaling": {"window_s": 4.0, "period_s": 0.5},
            },
            "cluster": {"autoscaling": True},
            "evaluation": {"products": 2, "prompts_per_product": 2, "gallery": 0, "bootstrap": 100},
        }
    )


class Tracer:
    """Writes down, twice a second, how many renderers are wanted and how many nodes there are."""

    def __init__(self) -> None:
        self.trace: list[dict[str, float]] = []

    async def run(self, loop: OnlineLoop) -> None:
        """Until cancelled."""
        began = time.monotonic()
        while True:
            nodes = sum(node["Alive"] for node in await asyncio.to_thread(ray.nodes))
            row = {"at_s": time.monotonic() - began, "renderers": loop.pipeline.renderer.size, "nodes": nodes}
            self.trace.append(row | {"round": loop.run_state.rounds_done})
            await asyncio.sleep(0.5)


def main() -> None:
    """One run."""
    folder, tracer = Path(sys.argv[1]), Tracer()
    use_fakes(SlowRenderer, SlowRank)
    run_folder = RunFolder(str(folder), "elastic")
    with autoscaling_head():
        summary = asyncio.run(run(config_of(folder), LightSource(60), LightSource(2, "held"), None, run_folder, beside=tracer.run))
    report = write_report(run_folder)
    (folder / TRACE).write_text(json.dumps({"trace": tracer.trace, "summary": summary.model_dump(mode="json"), "report": report}, indent=1))


if __name__ == "__main__":
    main()
