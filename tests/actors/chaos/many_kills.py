"""`python -m tests.actors.chaos.many_kills FOLDER [KILLS]`: a run on three nodes that is hit KILLS times (200), with fake models.

Most faults kill a worker, others a rank, an object or a whole rollout node, which another one replaces. It writes what it found to
FOLDER/found.json: the run's summary, its lineage, and the actors and object store bytes before and after.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray._private.state import actors
from ray.cluster_utils import Cluster

from actors.chaos.fault import NoTarget
from actors.chaos.fault_injector import FaultInjector
from actors.chaos.fault_plan import FaultKind, FaultPlan
from actors.loop.online_loop import OnlineLoop
from actors.loop.run import run
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from tests.actors.fake_fleet import IDS_FILE, LightSource, use_fakes, versions_are_current
from tests.actors.rollout.node_loss import FAST_DEATH_NOTICE

RESULT = "found.json"
ROUNDS = 300
PRODUCTS = 12
SPOT = {"num_cpus": 4, "labels": {"market": "spot"}, "object_store_memory": 100 * 2**20}
HEAD = {"num_cpus": 2, "labels": {"market": "on-demand"}, "object_store_memory": 100 * 2**20}
KINDS = (FaultKind.WORKER,) * 14 + (FaultKind.RANK,) * 2 + (FaultKind.OBJECT,) * 3 + (FaultKind.NODE,)
SETTLE_S = 60.0
ORDER_LIMIT_S = 15.0


def config_of(folder: Path) -> Config:
    """Rollout on the spot nodes, the learner beside the driver, a checkpoint every second round."""
    pool = {"workers": 2, "num_cpus": 0.5, "node_labels": {"market": "spot"}}
    return Config.model_validate(
        {
            "run": {"name": "struck", "root": str(folder)},
            "reward": {"margin": 0.0},
            "rollout": {"rounds": ROUNDS, "products_per_round": PRODUCTS, "candidates": 2, "shard_size": 2, "max_attempts": 40},
            "learner": {
                "batch_size": 4,
                "micro_batch_size": 4,
                "num_cpus": 0.5,
                "node_labels": {"market": "on-demand"},
                "checkpoint_every": 2,
            },
            "pools": {"policy": pool, "renderer": pool, "scorer": pool},
            "recovery": {"learner_restarts": 50, "stall_s": 60.0, "learner_stall_s": 60.0},
            "evaluation": {"products": 2, "prompts_per_product": 2, "gallery": 0, "bootstrap": 100},
        }
    )


class FaultSpreader:
    """Spreads a plan's faults over the rounds, so that all of them fall into the run; puts a new node where one went."""

    def __init__(self, cluster: Cluster, kills: int) -> None:
        self._cluster, self._kills = cluster, kills
        self.injector = FaultInjector(FaultPlan(7, 0.2, KINDS))

    async def run(self, loop: OnlineLoop) -> None:
        """Inject until all are done."""
        for fault in self.injector._plan.faults():
            done = sum(self.injector.done.values())
            while loop.run_state.rounds_done < done * (ROUNDS - 1) // self._kills:
                await asyncio.sleep(0.05)
            await asyncio.sleep(fault.delay_s)
            nodes = self.injector.done[FaultKind.NODE]
            try:
                self.injector.inject(loop, fault)
            except NoTarget:
                continue
            if self.injector.done[FaultKind.NODE] > nodes:
                await self._replace_the_dead_node()
            if sum(self.injector.done.values()) == self._kills:
                await asyncio.Event().wait()

    async def _replace_the_dead_node(self) -> None:
        """The order to die travels through a worker, which another fault may have hit: then nobody is replaced."""
        limit = time.monotonic() + ORDER_LIMIT_S
        while time.monotonic() < limit:
            await asyncio.sleep(0.2)
            for node in [one for one in self._cluster.worker_nodes if one.dead_processes()]:
                self._cluster.remove_node(node, allow_graceful=False)
                self._cluster.add_node(**SPOT)  # sets signal handlers, which only the main thread may
                return


def alive_actors() -> int:
    """Actors that Ray knows of and that are not dead."""
    return sum(one["State"] != "DEAD" for one in actors().values())


def object_bytes(address: str) -> int:
    """In all object stores."""
    return int(get_memory_info_reply(get_state_from_address(address)).store_stats.object_store_bytes_used)


def settled(address: str, before: tuple[int, int]) -> tuple[int, int]:
    """Actors and bytes, once they are back at `before`, or after a while."""
    limit = time.monotonic() + SETTLE_S
    while (now := (alive_actors(), object_bytes(address))) > before and time.monotonic() < limit:
        gc.collect()
        time.sleep(0.5)
    return now


def hit_a_run(folder: Path, cluster: Cluster, kills: int) -> dict[str, Any]:
    """The run, and what is left of it in its folder."""
    config, spreader = config_of(folder), FaultSpreader(cluster, kills)
    run_folder = RunFolder(str(folder), "struck")
    began = time.monotonic()
    ends = LightSource(40), LightSource(2, "held")
    summary = asyncio.run(run(config, *ends, None, run_folder, beside=spreader.run))
    rows = [row for row in run_folder.read_table("ledger.parquet").to_pylist() if row["admission_id"] is not None]
    return {
        "seconds": time.monotonic() - began,
        "struck": dict(spreader.injector.done),
        "summary": summary.model_dump(mode="json"),
        "trained": sorted(row["admission_id"] for row in rows if row["outcome"] == "trained"),
        "learned": sorted(json.loads((folder / f"struck/checkpoints/{ROUNDS}" / IDS_FILE).read_text())),
        "rolled_back": sum(bool(row["rolled_back"]) for row in rows),
        "policy_workers": len({row["worker"] for row in rows if row["worker"]}),
        "versions_are_current": versions_are_current(rows),
    }


def main() -> None:
    """Cluster up, faults, leaks counted, cluster down."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    use_fakes()
    system = FAST_DEATH_NOTICE | {"idle_worker_killing_time_threshold_ms": 300_000}
    cluster = Cluster(initialize_head=True, head_node_args=HEAD | {"_system_config": system})
    for _ in range(2):
        cluster.add_node(**SPOT)
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        before = alive_actors(), object_bytes(cluster.address)
        found = hit_a_run(folder, cluster, kills)
        found |= {"before": before, "after": settled(cluster.address, before)}
        (folder / RESULT).write_text(json.dumps(found, indent=1))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
