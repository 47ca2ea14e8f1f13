"""`caig-rl ablate`: arms x seeds, as one command that can be stopped and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from actors.launch.sigterm import SIGTERM_STOP, STOPPED
from caig_rl.cli.common import Overrides, console, errors, explained, run_console, sources

if TYPE_CHECKING:
    from caig_rl.ablation.cells import Plan


Only = Annotated[str | None, typer.Option(metavar="ARM,ARM", help="Arms of an ablation to run. Default: all.", show_default=False)]
Seeds = Annotated[str | None, typer.Option(metavar="0,1", help="Seeds of an ablation to run. Default: all.", show_default=False)]


def ablate(
    config: Annotated[Path, typer.Argument(metavar="ABLATION", help="YAML file of arms and seeds; see configs/ablate.yaml.")],
    overrides: Overrides = None,
    only: Only = None,
    seeds: Seeds = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells, what is done, and how long the rest may take; stop.")
    ] = False,
) -> None:
    """Run every arm on every seed, and compare them: a table, a curve, a gallery, a page.

    A finished cell is never run again, and one that was cut short goes on from its checkpoint: after any end give the same command again.
    The exit code is 75 where it was stopped, and 1 where a cell failed.
    """
    SIGTERM_STOP.begin()
    with explained():
        plan = plan_of(config, overrides or [], only, seeds)
        if dry_run:
            _show(plan)
            return
        code = _run(plan)
    raise typer.Exit(code)


def plan_of(file: Path, overrides: Sequence[str], only: str | None, seeds: str | None) -> Plan:
    """The plan of the ablation in `file`; `only` and `seeds` as the options give them. Raises ConfigError for mistakes."""
    from caig_rl.ablation.cells import make_plan
    from caig_rl.ablation.config import load_ablation

    return make_plan(load_ablation(file), overrides, _names(only), _numbers(seeds))


def _run(plan: Plan) -> int:
    from caig_rl.ablation.page import PAGE_FILE
    from caig_rl.ablation.table import TABLE_FILE
    from caig_rl.cli.dry_run import refuse_what_cannot_fit
    from caig_rl.runs.trackers.trackers import refuse_missing_trackers

    for cell in {cell.arm.name: cell for cell in plan.cells}.values():
        refuse_what_cannot_fit(cell.config)
        refuse_missing_trackers(cell.config)
    shown = run_console(plan.cells[0].config)
    from actors.launch.ablate import ablate as run_plan
    from caig_rl.doctor.probe import num_cpus
    from caig_rl.nano.made_rewards import make_reward

    threads = plan.cells[0].config.cluster.num_cpus or num_cpus()
    ended = run_plan(plan, sources, partial(make_reward, threads=threads), shown)
    folder = plan.folder
    if ended.finished:
        shown.print(folder.read_text(TABLE_FILE), markup=False, highlight=False, soft_wrap=True)
        shown.print(f"page: {folder.path(PAGE_FILE)}", highlight=False, soft_wrap=True)
    for name, why in ended.failed.items():
        errors.print(f"[bold red]{escape(name)}[/] {escape(why)}", highlight=False, soft_wrap=True)
    if ended.is_stopped:
        return STOPPED
    return 1 if ended.failed else 0


def _show(plan: Plan) -> None:
    from caig_rl.ablation.estimate import seconds_left
    from caig_rl.ablation.records import finished_cells
    from caig_rl.cli.text.ablate_text import cells_table, rewards_table
    from caig_rl.wording import counted, duration

    finished = finished_cells(plan)
    console.print(cells_table(plan, finished))
    if plan.rewards:
        console.print(rewards_table(plan))
    left = [cell for cell in plan.cells if cell.name not in finished]
    seconds = seconds_left(plan.cells, finished)
    time = (
        "" if not left else ", in a time that the first finished cells will tell" if seconds is None else f", in about {duration(seconds)}"
    )
    making = [reward for reward in plan.rewards if not reward.is_made]
    time += f", and before them {counted(len(making), 'reward model')} to make" if making else ""
    console.print(
        f"{counted(len(left), 'cell')} of {len(plan.cells)} to run{time}; folder: {plan.folder.url}", highlight=False, soft_wrap=True
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _numbers(text: str | None) -> list[int] | None:
    from caig_rl.errors import ConfigError

    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: seeds are whole numbers with commas between them, like 0,1") from error
