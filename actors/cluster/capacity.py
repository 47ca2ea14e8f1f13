"""What a run reserves against what the cluster has: refused before anything starts where it can never fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

import ray
import torch
from ray._private.state import state as cluster_state

from caig_rl.config.schema import TASK_CPUS, Config
from caig_rl.errors import UserError

RESOURCES = ("GPU", "CPU")
"""What is counted, in the order of complaint."""
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


def this_machine(config: Config, num_cpus: int) -> Node:
    """What a Ray has that a run starts here; `num_cpus` are the machine's."""
    return Node({"CPU": float(config.cluster.num_cpus or num_cpus), "GPU": float(torch.cuda.device_count())})


def largest_cluster() -> dict[str, float] | None:
    """What an autoscaling cluster can grow to, by resource, where its autoscaler has told Ray; None where it has not."""
    most = cluster_state.get_max_resources_from_cluster_config()
    return None if most is None else {name: float(amount) for name, amount in most.items()}


def refuse_what_the_cluster_lacks(config: Config) -> None:
    """Compare a run's least needs with the connected cluster. Raises CapacityError, with the arithmetic."""
    if config.cluster.autoscaling:
        refuse_more_than_the_most(needs(config), largest_cluster())
    else:
        refuse(needs(config), live_nodes())


def refuse_more_than_the_most(wanted: Sequence[Need], most: Mapping[str, float] | None) -> None:
    """A cluster that grows for workers that wait: only what it can never hold is refused. `most`: see `largest_cluster`.

    Raises:
        CapacityError: with the sum.
    """
    for resource in RESOURCES if most is not None else ():
        limit = (most or {}).get(resource, 0.0)
        if _total(wanted, resource) > limit + _ROUNDING:
            raise CapacityError(f"the run reserves {_sum(wanted, resource)}, and the cluster grows to {limit:g}. {_ADVICE}")


def refuse(wanted: Sequence[Need], nodes: Sequence[Node]) -> None:
    """Refuse what can never fit on `nodes`: in all, on the nodes with a label, or worker by worker. What passes may still not fit, where
    the shares of several roles cannot be cut from the nodes; then the wait for workers says so.

    Raises:
        CapacityError: with the arithmetic.
    """
    for labels in [{}, *_label_sets(wanted)]:
        bound = [need for need in wanted if labels.items() <= need.labels.items()]
        carrying = [node for node in nodes if labels.items() <= node.labels.items()]
        where = f"{len(carrying)} node(s)" + (f" with {_pairs(labels)}" if labels else "")
        for resource in RESOURCES:
            has = sum(node.resources.get(resource, 0.0) for node in carrying)
            if _total(bound, resource) > has + _ROUNDING and (carrying or not labels):
                raise CapacityError(f"the run reserves {_sum(bound, resource)}, and the cluster has {has:g} on {where}. {_ADVICE}")
    for need in wanted:
        _refuse_without_places(need, nodes)


def _refuse_without_places(need: Need, nodes: Sequence[Node]) -> None:
    places = [_places(need, node) for node in nodes]
    there = f"the nodes are: {_listed(nodes)}. {_ADVICE}"
    if not any(places):
        raise CapacityError(f"no node has room for a single {need.role} ({_in_words(need)}); {there}")
    if sum(places) < need.workers:
        room = f"{' + '.join(str(one) for one in places if one)} = {sum(places)}"
        raise CapacityError(f"{need.workers} x {need.role} ({_in_words(need)} each): the nodes have room for {room} of them; {there}")


_ADVICE = (
    "Ask for fewer or smaller workers (pools.*, learner.*), add nodes, or set cluster.autoscaling=true where the cluster grows by itself."
)


def _total(wanted: Sequence[Need], resource: str) -> float:
    return sum(need.workers * need.each.get(resource, 0.0) for need in wanted)


def _sum(wanted: Sequence[Need], resource: str) -> str:
    """The arithmetic: "learner 4 x 1 + policy 1 x 1 = 5 GPUs"."""
    parts = [f"{need.role} {need.workers} x {need.each[resource]:g}" for need in wanted if need.each.get(resource)]
    return f"{' + '.join(parts)} = {_total(wanted, resource):g} {resource}s"


def _label_sets(wanted: Sequence[Need]) -> list[Mapping[str, str]]:
    """Every set of labels that some role asks for, once."""
    found: list[Mapping[str, str]] = []
    for need in wanted:
        if need.labels and need.labels not in found:
            found.append(need.labels)
    return found


def _places(need: Need, node: Node) -> int:
    """Workers of `need` that `node` has room for, were it free of others."""
    if not need.labels.items() <= node.labels.items():
        return 0
    shares = [node.resources.get(name, 0.0) / amount for name, amount in need.each.items() if amount]
    return min((floor(share + _ROUNDING) for share in shares), default=need.workers)


def _in_words(need: Need) -> str:
    amounts = ", ".join(f"{amount:g} {name}" for name, amount in need.each.items() if amount)
    return f"{amounts} on a node with {_pairs(need.labels)}" if need.labels else amounts


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _listed(nodes: Sequence[Node]) -> str:
    shown = []
    for node in nodes[:8]:
        own = {key: value for key, value in node.labels.items() if not key.startswith("ray.io/node-id")}
        labels = f" ({_pairs(own)})" if own else ""
        shown.append(f"{node.resources.get('CPU', 0):g} CPU, {node.resources.get('GPU', 0):g} GPU{labels}")
    return "; ".join(shown) + ("; ..." if len(nodes) > 8 else "")
