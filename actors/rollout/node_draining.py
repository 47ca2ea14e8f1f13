"""Which nodes Ray is draining: preempted ones, and those that are scaled down."""

from __future__ import annotations

from ray._private.state import state as cluster_state


def draining_nodes() -> set[str]:
    """Hex ids of the nodes that Ray is emptying: preempted, or scaled down."""
    return set(cluster_state.get_draining_nodes())
