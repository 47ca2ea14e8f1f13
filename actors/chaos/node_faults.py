"""A rollout node is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from actors.chaos.fault import InjectedFault, NoTarget
from actors.chaos.worker_faults import send_order
from actors.chaos.worker_orders import kill_node

if TYPE_CHECKING:
    from actors.loop.online_loop import OnlineLoop

HEAD_RESOURCE = "node:__internal_head__"


def kill_rollout_node(loop: OnlineLoop, draw: int) -> InjectedFault:
    """A node that holds workers of a pool, and neither this process nor Ray's head."""
    pools = loop.pipeline.pools.values()
    held = {node: handle for pool in pools for node, handle in pool.nodes().items()}
    spared = nodes_to_spare()
    victims = sorted(node for node in held if node not in spared)
    if not victims:
        raise NoTarget("no node but the driver's and the head's holds workers that are up")
    node = victims[draw % len(victims)]
    send_order(held[node], kill_node)

    def outcome() -> str:
        is_whole = all(node not in pool.nodes() and len(pool.ready()) >= pool.size for pool in pools)
        return "its workers replaced" if is_whole else ""

    return InjectedFault(f"node {node[:8]} of {len(victims)} killed", outcome)


def nodes_to_spare() -> set[str]:
    """Ids of the nodes whose end is the run's: this process's and the head's."""
    heads = {str(node["NodeID"]) for node in ray.nodes() if HEAD_RESOURCE in node["Resources"]}
    return heads | {str(ray.get_runtime_context().get_node_id())}
