"""`python -m tests.actors.rollout.node_loss FOLDER`: a tiny run on several nodes: whole, without its rollout node, without its learner's.

A program of its own, because a test session has one cluster. It writes the three summaries to FOLDER/summaries.json.
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

from actors.loop.online_loop import Beside, OnlineLoop
from actors.loop.run import run
from actors.telemetry.progress import Silent
from actors.weights.published import PublishedWeights
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from tests.actors.conftest import make_tiny_config
from tests.actors.fakes import BrightnessJudge, FakeSource

FAST_DEATH_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 2,
}
RESULT = "summaries.json"
RESERVED = {"num_cpus": 1, "labels": {"market": "reserved"}, "object_store_memory": 100 * 2**20}
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


class LearnersEnd:
    """Takes the learner's node away as the second round's weights are there, before a worker has pulled them, and offers another."""

    def __init__(self, cluster: Cluster, node: Any) -> None:
        self._cluster, self._node = cluster, node

    async def run(self, loop: OnlineLoop) -> None:
        """Waits in the way of the weights."""
        go_live = loop.pipeline.go_live

        async def bereft_go_live(published: PublishedWeights) -> None:
            if published.version.number == 2:
                loop.pipeline.go_live = go_live  # type: ignore[method-assign]
                self._cluster.remove_node(self._node, allow_graceful=False)
                self._cluster.add_node(**RESERVED)
            await go_live(published)

        loop.pipeline.go_live = bereft_go_live  # type: ignore[method-assign]
        await asyncio.Event().wait()


def _run(config: Config, name: str, progress: Silent | None = None, beside: Beside | None = None) -> dict[str, Any]:
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": name})})
    folder = RunFolder(config.run.root, name)
    ends = FakeSource(9), FakeSource(5, "held")
    summary = asyncio.run(run(config, *ends, BrightnessJudge(), folder, progress=progress, beside=beside))
    return summary.model_dump(mode="json")


def _with_learner_on(config: Config, market: str) -> Config:
    return config.model_copy(update={"learner": config.learner.model_copy(update={"node_labels": {"market": market}})})


def main() -> None:
    """Rollout on the spot node, the learner beside the driver, and in the last run on a node of its own."""
    folder = Path(sys.argv[1])
    config = make_tiny_config(folder)
    on_spot = {"node_labels": {"market": "spot"}}
    pools = {name: getattr(config.pools, name).model_copy(update=on_spot) for name in ("policy", "renderer", "scorer")}
    config = config.model_copy(update={"pools": config.pools.model_copy(update=pools)})
    head = {"num_cpus": 1, "labels": {"market": "on-demand"}, "object_store_memory": 100 * 2**20, "_system_config": FAST_DEATH_NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    spot, reserved = cluster.add_node(**SPOT), cluster.add_node(**RESERVED)
    beside_driver, apart = _with_learner_on(config, "on-demand"), _with_learner_on(config, "reserved")
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        summaries = [
            _run(beside_driver, "undisturbed"),
            _run(beside_driver, "bereft", SpotMarket(cluster, spot)),
            _run(apart, "untaught", beside=LearnersEnd(cluster, reserved).run),
        ]
        (folder / RESULT).write_text(json.dumps(summaries))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
