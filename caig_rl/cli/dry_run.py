"""What `caig-rl train CONFIG --dry-run` prints: config, actors, placement, memory; and the refusal of what cannot fit."""

from __future__ import annotations

import logging

from rich.table import Table

from caig_rl.cli.common import console
from caig_rl.config.load import config_yaml
from caig_rl.config.schema import Config
from caig_rl.sizing import RoleMemory, check_fit, estimate, place
from caig_rl.sizing.memory import GIB, in_gib
from caig_rl.sizing.placement import Gpu, role_sizes


def show_plan(config: Config) -> None:
    """Print all of it. Raises PlacementError, after printing, where it cannot fit."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    console.print(config_yaml(config), markup=False, highlight=False, soft_wrap=True)
    console.print(_actors(config))
    memory = estimate(config)
    console.print(_parts(memory))
    missing = [role for role in role_sizes(config) if role not in memory and not (role == "scorer" and config.reward.kind == "random")]
    if missing:
        console.print(
            f"not estimated, for want of a model folder or an architecture: {', '.join(missing)}", style="yellow", highlight=False
        )
    gpus = place(config)
    if gpus:
        console.print(_gpus(config, memory, gpus))
    check_fit(config, memory, gpus)


def refuse_what_cannot_fit(config: Config) -> None:
    """Before a run starts: the same checks without the tables. Costs seconds, and nothing for runs without GPUs."""
    gpus = place(config)
    if gpus and config.cluster.gpu_memory_gib is not None:
        logging.getLogger("diffusers").setLevel(logging.ERROR)
        check_fit(config, estimate(config), gpus)


def _actors(config: Config) -> Table:
    table = Table("actors", "number", "CPUs each", "GPUs each", "threads each", "nodes", title="actors")
    for name in ("policy", "renderer", "scorer"):
        pool = getattr(config.pools, name)
        most = pool.max_workers or pool.workers
        number = str(pool.workers) if most == pool.workers else f"{pool.workers} to {most}"
        table.add_row(name, number, f"{pool.num_cpus:g}", f"{pool.num_gpus:g}", str(pool.threads), _labels(pool.node_labels))
    learner = config.learner
    shares = (f"{learner.num_cpus:g}", f"{learner.num_gpus:g}", str(learner.threads), _labels(learner.node_labels))
    table.add_row("learner", str(learner.world_size), *shares)
    return table


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "any"


def _parts(memory: dict[str, RoleMemory]) -> Table:
    table = Table("worker", "part", "estimate", "how", title="memory of one worker on a GPU")
    for role in memory.values():
        for index, part in enumerate(role.parts):
            table.add_row(role.role if index == 0 else "", part.name, in_gib(part.num_bytes), part.how)
        table.add_row("", "[bold]sum[/]", f"[bold]{in_gib(role.needed_bytes)}[/]", role.model, end_section=True)
    return table


def _gpus(config: Config, memory: dict[str, RoleMemory], gpus: list[Gpu]) -> Table:
    size = None if config.cluster.gpu_memory_gib is None else int(config.cluster.gpu_memory_gib * GIB)
    table = Table("GPU", "workers", "taken", title="placement")
    for index, gpu in enumerate(gpus):
        needed = sum(memory[role].needed_bytes for role in gpu.workers if role in memory)
        taken = f"at least {in_gib(needed)}" if size is None else f"{in_gib(gpu.taken_bytes(memory, size))} of {in_gib(size)}"
        table.add_row(str(index), gpu.counted() or "free", taken)
    return table
