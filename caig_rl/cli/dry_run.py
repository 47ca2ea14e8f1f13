"""What `caig-rl train CONFIG --dry-run` prints: config, actors, placement, memory; and the refusal of what cannot fit."""

from __future__ import annotations

from collections.abc import Collection

from rich.table import Table

from caig_rl.cli.common import console, sources
from caig_rl.config.load import config_yaml
from caig_rl.config.schema import TASK_CPUS, Config
from caig_rl.data.catalog_split import split_words
from caig_rl.doctor.probe import num_cpus
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.trackers.trackers import refuse_missing_trackers
from caig_rl.sizing import RoleMemory, check_fit, estimate, place
from caig_rl.sizing.memory import GIB, in_gib
from caig_rl.sizing.placement import Gpu, role_sizes


def show_plan(config: Config) -> None:
    """Print all of it. Raises PlacementError, after printing, where it cannot fit."""
    console.print(config_yaml(config), markup=False, highlight=False, soft_wrap=True)
    console.print(_actors(config))
    memory = estimate(config)
    console.print(_parts(memory))
    missing = [role for role in role_sizes(config) if role not in memory and not (role == "scorer" and config.reward.kind != "model")]
    if missing:
        console.print(
            f"not estimated, for want of a model folder or an architecture: {', '.join(missing)}", style="yellow", highlight=False
        )
    gpus = place(config)
    if gpus:
        console.print(_gpus(config, memory, gpus))
    if line := _main_memory(config, memory):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(_object_store(config), highlight=False, soft_wrap=True)
    check_fit(config, memory, gpus)


def refuse_what_cannot_fit(config: Config) -> None:
    """Before a run starts: the same checks without the tables. Costs seconds, and nothing for runs without GPUs."""
    gpus = place(config)
    if gpus and config.cluster.gpu_memory_gib is not None:
        check_fit(config, estimate(config), gpus)


def rehearse(config: Config, *, resume: bool = False, asked: Collection[str] = ()) -> None:
    """What a run looks at before Ray starts: trackers, catalog, models, run folder. Leaves no trace.

    Raises:
        UserError: what the run would refuse, but for model folders that are elsewhere and sized by their architecture: these are named.
    """
    from actors.loop.preflight import preflight_of_dry_run

    refuse_missing_trackers(config)
    source, evaluation, _ = sources(config)
    folder = RunFolder(config.run.root, config.run.name)
    elsewhere, found = preflight_of_dry_run(config, source, folder, resume=resume, asked=asked)
    drawn = "" if config.catalog.path else " (drawn by the click world: catalog.path names no catalog)"
    products = f"{len(source.products)} to train on{drawn}, {len(source.rejected)} rejected"
    console.print(f"products: {products}; run folder: {folder.url}", highlight=False, soft_wrap=True)
    console.print(split_words(source, evaluation), highlight=False, soft_wrap=True)
    if found is not None:
        console.print(f"resume: {found.words}", markup=False, highlight=False, soft_wrap=True)
    _say_what_this_machine_lacks(config)
    for model in elsewhere:
        named = f"{model.key} = {model.name} is not on this machine"
        console.print(f"{named}: sized by {model.architecture}, and needed where the run starts", style="yellow", soft_wrap=True)


def _say_what_this_machine_lacks(config: Config) -> None:
    """No refusal: the plan may be for a cluster that `caig-rl submit` names."""
    from actors.cluster.capacity import CapacityError, needs, refuse, this_machine
    from actors.cluster.connect import joined_address

    if joined_address(config.cluster):
        return
    try:
        refuse(needs(config), [this_machine(config, num_cpus())])
    except CapacityError as error:
        console.print(f"on a Ray of this machine alone it would be refused: {error}", style="yellow", highlight=False, soft_wrap=True)


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
    table.add_row("short tasks", "1 at least", f"{TASK_CPUS:g}", "0", "1", "any")
    return table


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "any"


def _parts(memory: dict[str, RoleMemory]) -> Table:
    table = Table("worker", "part", "estimate", "how", title="memory of one worker")
    for role in memory.values():
        for index, part in enumerate(role.parts):
            table.add_row(role.role if index == 0 else "", part.name, in_gib(part.num_bytes), part.how)
        table.add_row("", "[bold]sum[/]", f"[bold]{in_gib(role.needed_bytes)}[/]", f"of {role.where}; {role.model}", end_section=True)
    return table


def _gpus(config: Config, memory: dict[str, RoleMemory], gpus: list[Gpu]) -> Table:
    size = None if config.cluster.gpu_memory_gib is None else int(config.cluster.gpu_memory_gib * GIB)
    table = Table("GPU", "workers", "taken", title="placement")
    for index, gpu in enumerate(gpus):
        needed = sum(memory[role].needed_bytes for role in gpu.workers if role in memory)
        taken = f"at least {in_gib(needed)}" if size is None else f"{in_gib(gpu.taken_bytes(memory, size))} of {in_gib(size)}"
        table.add_row(str(index), gpu.counted() or "free", taken)
    return table


def _object_store(config: Config) -> str:
    """What a round's creatives ask of it, which is the most of what it holds at a time."""
    rollout, size = config.rollout, config.imaging.size
    asked = rollout.products_per_round * rollout.candidates * size**2 * 3
    line = f"object store: up to {in_gib(asked)} of creatives under way in a round; beyond its size Ray spills to disk"
    if config.cluster.address:
        return line
    return f"{line}. cluster.object_store_gib={config.cluster.object_store_gib:g} where the run starts a Ray of its own"


def _main_memory(config: Config, memory: dict[str, RoleMemory]) -> str:
    """The workers without a GPU, added up; empty where there are none."""
    counted = [(role, workers) for role, (workers, _) in role_sizes(config).items() if role in memory and not memory[role].on_gpu]
    if not counted:
        return ""
    parts = [f"{role} {workers} x {in_gib(memory[role].needed_bytes)}" for role, workers in counted]
    total = sum(memory[role].needed_bytes * workers for role, workers in counted)
    beside = "beside it: the controller, its short tasks, and Ray"
    if not config.cluster.address:
        total += int(config.cluster.object_store_gib * GIB)
        parts.append(f"object store {config.cluster.object_store_gib:g} GiB")
    return f"main memory: {' + '.join(parts)} = {in_gib(total)}; {beside}"
