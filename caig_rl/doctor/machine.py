"""Checks of the machine against what a run will ask of it. Sizes in GiB."""

from __future__ import annotations

from collections.abc import Sequence

from caig_rl.config.schema import TASK_CPUS, Config
from caig_rl.doctor.check import Check

DEMO_MEMORY_GIB = 12.0
"""The demo's promise: its peak stays below."""
RUN_DISK_GIB = 2.0
"""Room for checkpoints, pairs and pictures of a demo run, and for Ray's session folder."""
RAY_FULL_DISK = 0.95
"""Share of used disk from which Ray stops creating objects (its `local_fs_capacity_threshold`)."""


def requested_cpus(config: Config) -> float:
    """CPUs that the run reserves in Ray: every pool's workers, the learner's ranks, and a short task beside them."""
    pools = (config.pools.policy, config.pools.renderer, config.pools.scorer)
    return sum(pool.workers * pool.num_cpus for pool in pools) + config.learner.world_size * config.learner.num_cpus + TASK_CPUS


def requested_gpus(config: Config) -> float:
    """GPUs that the run reserves in Ray."""
    pools = (config.pools.policy, config.pools.renderer, config.pools.scorer)
    return sum(pool.workers * pool.num_gpus for pool in pools) + config.learner.world_size * config.learner.num_gpus


def check_tool(name: str, path: str | None, world_size: int, install: str) -> Check:
    """ninja or g++. DeepSpeed compiles a communication op with both on its first start with more than one rank."""
    if path:
        return Check(f"{name} on PATH", "ok", path)
    detail = f"not found; DeepSpeed needs it to compile its communication op for more than one rank (learner.world_size is {world_size})"
    return Check(f"{name} on PATH", "fail" if world_size > 1 else "warn", detail, install)


def check_memory(total_gib: float, available_gib: float, limited: bool) -> Check:
    """`total_gib` is the container's limit where `limited`, else the machine's memory."""
    detail = f"{total_gib:.1f} GiB{' (limit of the container)' if limited else ''}, {available_gib:.1f} GiB of it free"
    if total_gib >= DEMO_MEMORY_GIB:
        return Check("memory", "ok", detail)
    advice = "raise the container's memory limit" if limited else "use a larger machine"
    return Check("memory", "warn", detail, f"{advice}, or shrink the batch sizes: the demo may take up to {DEMO_MEMORY_GIB:.0f} GiB")


def check_cpus(available: int, config: Config) -> Check:
    """The CPUs this process may use against what the run reserves; on another cluster, only reported."""
    wanted = requested_cpus(config)
    given = config.cluster.num_cpus or available
    if config.cluster.address or wanted <= given + 1e-9:
        return Check("cpus", "ok", f"{available} here; the run reserves {wanted:g}{_on_cluster(config)}")
    sum_of = f"pools.*.workers * num_cpus, learner.world_size * num_cpus, {TASK_CPUS:g} for short tasks"
    detail = f"the run reserves {wanted:g} CPUs ({sum_of}), and Ray will have {given}"
    return Check("cpus", "fail", detail, "lower pools.*.num_cpus or pools.*.workers, or raise cluster.num_cpus; the run would be refused")


def check_shared_memory(free_gib: float | None, config: Config) -> Check:
    """/dev/shm against `cluster.object_store_gib`. `free_gib` None: this system has no /dev/shm, and Ray uses files."""
    name, wanted = "shared memory", config.cluster.object_store_gib
    if free_gib is None:
        return Check(name, "ok", "no /dev/shm on this system; Ray keeps its object store in files")
    if config.cluster.address or free_gib >= wanted:
        return Check(name, "ok", f"{free_gib:.1f} GiB free in /dev/shm; the object store takes {wanted:g} GiB{_on_cluster(config)}")
    detail = f"{free_gib:.2f} GiB free in /dev/shm, less than cluster.object_store_gib ({wanted:g}): Ray falls back to files, which is slow"
    return Check(name, "warn", detail, f"docker run --shm-size={wanted + 1:.0f}g, or lower cluster.object_store_gib")


def check_disk(folder: str, free_gib: float, used_share: float) -> Check:
    """Free disk where `folder` lies; `used_share` is 0-1."""
    name, detail = f"disk ({folder})", f"{free_gib:.1f} GiB free, {used_share:.0%} used"
    if used_share >= RAY_FULL_DISK:
        return Check(name, "fail", detail, f"free some disk: from {RAY_FULL_DISK:.0%} on, Ray refuses to create objects")
    if free_gib < RUN_DISK_GIB:
        return Check(name, "warn", detail, f"free some disk: a run and Ray's session together take up to {RUN_DISK_GIB:g} GiB")
    return Check(name, "ok", detail)


def check_gpus(driver_gpus: Sequence[str], torch_gpus: int, torch_cuda: str | None, config: Config) -> Check:
    """GPUs that the driver lists (name and memory), those that torch can use, and what the run reserves."""
    wanted = requested_gpus(config)
    listed = f"{len(driver_gpus)} GPU(s): {'; '.join(driver_gpus)}" if driver_gpus else "no GPU here"
    detail = f"{listed}; torch uses {torch_gpus}; the run reserves {wanted:g}{_on_cluster(config)}"
    if driver_gpus and not torch_gpus:
        why = (
            "torch is a CPU build: install the GPU set, pip install -e '.[gpu]'"
            if torch_cuda is None
            else f"torch wants CUDA {torch_cuda}: update the driver"
        )
        return Check("gpus", "fail" if wanted else "warn", detail, why)
    if wanted > torch_gpus and not config.cluster.address:
        return Check(
            "gpus", "fail", detail, "lower pools.*.num_gpus and learner.num_gpus, or name a cluster that has them (cluster.address)"
        )
    return Check("gpus", "ok", detail)


def _on_cluster(config: Config) -> str:
    return f" on the cluster at {config.cluster.address}" if config.cluster.address else ""
