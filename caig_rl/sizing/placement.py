"""Which worker stands on which GPU, and whether it fits: the arithmetic that a refusal shows.

Ray places by shares of a GPU (`num_gpus`) and knows nothing of memory, so memory is ours to count. Workers are put first-fit, learner
first: the learner's ranks come in one placement group, the pools after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.sizing.estimate import ROLES
from caig_rl.sizing.memory import GIB, RoleMemory, in_gib

_ROUNDING = 1e-9


class PlacementError(UserError):
    """A config that the cluster has no room for."""


@dataclass(slots=True)
class Gpu:
    """One GPU and the workers on it."""

    free: float = 1.0
    """Share that Ray has not given away."""
    workers: list[str] = field(default_factory=list)
    """Roles, one a worker."""

    def counted(self) -> str:
        """ "learner, 2 x policy"."""
        return ", ".join(f"{n} x {role}" if (n := self.workers.count(role)) > 1 else role for role in dict.fromkeys(self.workers))

    def taken_bytes(self, memory: Mapping[str, RoleMemory], gpu_bytes: int) -> int:
        """What its workers take; those of unknown size count nothing."""
        return sum(memory[role].taken_bytes(gpu_bytes) for role in self.workers if role in memory)


def role_sizes(config: Config) -> dict[str, tuple[int, float]]:
    """Workers and GPUs each, by role, in the order in which they are placed."""
    learner = config.learner
    pools = {name: (getattr(config.pools, name).workers, getattr(config.pools, name).num_gpus) for name in ROLES[1:]}
    return {"learner": (learner.world_size, learner.num_gpus), **pools}


def place(config: Config) -> list[Gpu]:
    """Every worker that asks for GPUs on its own.

    Raises:
        PlacementError: the shares do not fit into `cluster.gpus`.
    """
    sizes = role_sizes(config)
    wanted = sum(workers * each for workers, each in sizes.values())
    arithmetic = " + ".join(f"{role} {workers} x {each:g}" for role, (workers, each) in sizes.items() if each)
    limit = config.cluster.gpus
    if limit is not None and wanted > limit + _ROUNDING:
        raise PlacementError(f"the run asks for {arithmetic} = {wanted:g} GPUs, and cluster.gpus is {limit}")
    gpus = [Gpu() for _ in range(limit or 0)]
    for role, (workers, each) in sizes.items():
        for _ in range(workers if each else 0):
            _put(role, each, gpus, limit, arithmetic)
    return gpus


def _put(role: str, share: float, gpus: list[Gpu], limit: int | None, arithmetic: str) -> None:
    need = 1.0 if share >= 1.0 else share
    count = ceil(share - _ROUNDING) if share >= 1.0 else 1
    fitting = [gpu for gpu in gpus if gpu.free >= need - _ROUNDING]
    while len(fitting) < count:
        if limit is not None:
            raise PlacementError(
                f"the shares add up ({arithmetic}), but no GPU has {share:g} left for a {role}: "
                "change num_gpus so that whole workers fit on a GPU"
            )
        gpus.append(Gpu())
        fitting.append(gpus[-1])
    for gpu in fitting[:count]:
        gpu.free -= need
        gpu.workers.append(role)


def check_fit(config: Config, memory: Mapping[str, RoleMemory], gpus: list[Gpu]) -> None:
    """Compare every GPU's workers with `cluster.gpu_memory_gib`; nothing is checked where that is empty.

    Raises:
        PlacementError: with the arithmetic of the first GPU that cannot hold its workers.
    """
    if config.cluster.gpu_memory_gib is None:
        return
    size = int(config.cluster.gpu_memory_gib * GIB)
    for index, gpu in enumerate(gpus):
        for role in dict.fromkeys(gpu.workers):
            if role in memory and memory[role].taken_bytes(size) < memory[role].needed_bytes:
                raise PlacementError(_too_small_a_share(memory[role], size))
        taken = gpu.taken_bytes(memory, size)
        if taken > size:
            raise PlacementError(_too_much(index, gpu, memory, taken, size))


def _too_small_a_share(role: RoleMemory, size: int) -> str:
    return (
        f"{role.role} on {role.model} needs {in_gib(role.needed_bytes)} ({_sum(role)}), and policy.gpu_memory_utilization "
        f"{role.reserved_share:g} x {in_gib(size)} is {in_gib(role.taken_bytes(size))}: raise it, or shorten policy.max_model_len"
    )


def _too_much(index: int, gpu: Gpu, memory: Mapping[str, RoleMemory], taken: int, size: int) -> str:
    lines = [f"GPU {index} would hold {in_gib(taken)} ({gpu.counted()}), and cluster.gpu_memory_gib is {size / GIB:g}:"]
    for role in dict.fromkeys(gpu.workers):
        if role in memory:
            lines.append(f"  {role} on {memory[role].model}: {in_gib(memory[role].taken_bytes(size))} = {_sum(memory[role])}")
    lines.append(
        "Lower micro_batch_size or batch_size, shorten policy.max_model_len, raise learner.world_size or zero_stage, or take larger GPUs."
    )
    return "\n".join(lines)


def _sum(role: RoleMemory) -> str:
    parts = " + ".join(f"{part.name} {in_gib(part.num_bytes)}" for part in role.parts)
    return parts if role.reserved_share is None else f"{role.reserved_share:g} of the GPU (least {parts})"
