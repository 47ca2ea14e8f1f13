"""`python -m tests.actors.node_loss FOLDER`: the same tiny run twice on a cluster of two nodes, once undisturbed, once losing a node.

A program of its own, because a test session has one cluster. It writes both summaries to FOLDER/summaries.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"

import ray
from ray.cluster_utils import Cluster

from actors.online import run
from actors.progress import Silent
from caig_rl.config.schema import Config
from caig_rl.evaluation.run_folder import RunFolder
from tests.actors.conftest import make_tiny_config
from tests.actors.fakes import BrightnessJudge, FakeSource

FAST_DEATH_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 2,
}
RESULT = "summaries.json"
SPOT = {"num_cpus": 2, "labels": {"market": "spot"}, "object_store_memory": 100 * 2**20}


class SpotMarket(Silent):
    """Takes the spot node away while the second round is rolled out, and offers another."""

    def __init__(self, cluster: Cluster, node: Any) -> None:
        self._cluster, self._node, self._is_due = cluster, node, False

    def phase(self, name: str, total: int) -> None:
        self._is_due = name.startswith("round 2 ")

    def advanced(self, stage: str, count: int) -> None:
        if self._is_due and stage == "policy":
            self._is_due = False
            self._cluster.remove_node(self._node, allow_graceful=False)
            self._cluster.add_node(**SPOT)


def _run(config: Config, name: str, progress: Silent) -> dict[str, Any]:
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    folder = RunFolder(config.run.root, name)
    summary = asyncio.run(run(config, FakeSource(9), FakeSource(5, "held"), BrightnessJudge(), folder, progress=progress))
    return summary.model_dump(mode="json")


def main() -> None:
    """Rollout on the spot node, the learner beside the driver."""
    folder = Path(sys.argv[1])
    config = make_tiny_config(folder)
    on_spot = {"node_labels": {"market": "spot"}}
    pools = {name: getattr(config.pools, name).model_copy(update=on_spot) for name in ("policy", "renderer", "scorer")}
    config = config.model_copy(
        update={
            "pools": config.pools.model_copy(update=pools),
            "learner": config.learner.model_copy(update={"node_labels": {"market": "on-demand"}}),
        }
    )
    head = {"num_cpus": 1, "labels": {"market": "on-demand"}, "object_store_memory": 100 * 2**20, "_system_config": FAST_DEATH_NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(**SPOT)
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        summaries = [_run(config, "undisturbed", Silent()), _run(config, "bereft", SpotMarket(cluster, node))]
        (folder / RESULT).write_text(json.dumps(summaries))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
