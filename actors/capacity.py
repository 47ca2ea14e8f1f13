"""What a run reserves against what the cluster has: refused before anything starts where it can never fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import ray

from actors.cluster import TASK_CPUS
from caig_rl.config.schema import Config
from caig_rl.errors import UserError

_ROUNDING = 1e-6


class CapacityError(UserError):
    """A run that the cluster cannot hold, and will not grow for."""


@dataclass(frozen=True, slots=True)
class Node:
    """One live node."""

    resources: Mapping[str, float]
    """"CPU", "GPU"."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Need:
    """What a role reserves."""

    role: str
    workers: int
    each: Mapping[str, float]
    """Resources of one worker."""
    labels: Mapping[str, str] = field(default_factory=dict)


def needs(config: Config) -> list[Need]:
    """Every role of the run, at the least size its pool may have, and the short tasks beside them."""
    learner = config.learner
    found = [Need("learner", learner.world_size, {"CPU": learner.num_cpus, "GPU": learner.num_gpus}, learner.node_labels)]
    for role in ("policy", "renderer", "scorer"):
        pool = getattr(config.pools, role)
        found.append(Need(role, pool.workers, {"CPU": pool.num_cpus, "GPU": pool.num_gpus}, pool.node_labels))
    return [*found, Need("tasks", 1, {"CPU": TASK_CPUS})]


def live_nodes() -> list[Node]:
    """The nodes of the connected cluster."""
    return [Node(node["Resources"], node.get("Labels") or {}) for node in ray.nodes() if node["Alive"]]


def refuse_what_the_cluster_lacks(config: Config, nodes: Sequence[Node] | None = None) -> None:
    """Compare the run with the cluster as it is. An autoscaling cluster grows for workers that wait, so there nothing is refused.

    Args:
        config: of the run.
        nodes: of the cluster; None: the connected one's.

    Raises:
        CapacityError: with the arithmetic.
    """
    if config.cluster.autoscaling:
        return
    there = live_nodes() if nodes is None else nodes
    wanted = needs(config)
    for resource in ("GPU", "CPU"):
        total = sum(need.workers * need.each.get(resource, 0.0) for need in wanted)
        has = sum(node.resources.get(resource, 0.0) for node in there)
        if total > has + _ROUNDING:
            sum_in_words = " + ".join(f"{need.role} {need.workers} x {need.each[resource]:g}" for need in wanted if need.each.get(resource))
            raise CapacityError(
                f"the run reserves {sum_in_words} = {total:g} {resource}s, and the cluster has {has:g} on {len(there)} node(s). {_ADVICE}"
            )
    for need in wanted:
        if not any(_fits(need, node) for node in there):
            raise CapacityError(
                f"no node has room for a single {need.role} ({_in_words(need)}); the nodes are: {_listed(there)}. {_ADVICE}"
            )


_ADVICE = (
    "Ask for fewer or smaller workers (pools.*, learner.*), add nodes, or set cluster.autoscaling=true where the cluster grows by itself."
)


def _fits(need: Need, node: Node) -> bool:
    carries = all(node.labels.get(key) == value for key, value in need.labels.items())
    return carries and all(node.resources.get(name, 0.0) + _ROUNDING >= amount for name, amount in need.each.items())


def _in_words(need: Need) -> str:
    amounts = ", ".join(f"{amount:g} {name}" for name, amount in need.each.items() if amount)
    labels = ", ".join(f"{key}={value}" for key, value in need.labels.items())
    return f"{amounts} on a node with {labels}" if labels else amounts


def _listed(nodes: Sequence[Node]) -> str:
    shown = []
    for node in nodes[:8]:
        own = {key: value for key, value in node.labels.items() if not key.startswith("ray.io/node-id")}
        labels = f" ({', '.join(f'{key}={value}' for key, value in own.items())})" if own else ""
        shown.append(f"{node.resources.get('CPU', 0):g} CPU, {node.resources.get('GPU', 0):g} GPU{labels}")
    return "; ".join(shown) + ("; ..." if len(nodes) > 8 else "")
