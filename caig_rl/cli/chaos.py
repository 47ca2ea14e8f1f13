"""`caig-rl chaos`: a run that is broken on purpose, to see that nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from actors.launch.sigterm import SIGTERM_STOP, STOPPED
from caig_rl.cli.common import ConfigFile, Overrides, console, errors, explained, resolved_config, sources
from caig_rl.cli.text.chaos_text import complaints, fault_table, plan_table, sums
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError, UserError
from caig_rl.runs.config_history import as_begun
from caig_rl.runs.folder import RunFolder

if TYPE_CHECKING:
    from actors.chaos.fault_plan import FaultKind

AGAIN = (sys.executable, "-m", "caig_rl.cli")
"""How this command starts itself again."""
MAX_LIVES = 100
"""Times that a driver is started again, before something else than the plan must be killing it."""
PASSING_ON_S = 3.0
"""What the end of a child may take beyond its own limit."""
SHOWN = 20
"""Faults of a plan that `--dry-run` prints."""


def chaos(
    config: ConfigFile = None,
    overrides: Overrides = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two faults, on average.")] = 120.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides which fault comes when.")] = 0,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Faults to inject, by comma: worker, rank, node, driver, object, slow, nan, disk, torn. Nothing: those of worker, rank, "
            "object, slow, nan that fit the config.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
    resume_if_any: Annotated[bool, typer.Option("--resume-if-any", help="As --resume where the run has begun, else start.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    life: Annotated[int | None, typer.Option(min=0, hidden=True, help="Set by this command where it starts itself again.")] = None,
) -> None:
    """Train while a seeded fault injector breaks things. For staging clusters. Exits 1 where a kind of fault was never injected."""
    SIGTERM_STOP.begin()
    with explained():
        settings = resolved_config(config, overrides)
        names = _fitting(kinds, settings, every)
        if dry_run:
            from actors.chaos.fault_plan import FaultPlan

            console.print(plan_table(FaultPlan(seed, every, names), SHOWN))
            return
        if "driver" in names and life is None:
            # Its children keep to the limit themselves, and may need all of it.
            SIGTERM_STOP.grace_s = settings.run.stop_grace_s + PASSING_ON_S
            # The driver cannot bring itself back: each of its lives is a process of its own.
            raise typer.Exit(live_on(start_life))
        code = _one_life(settings, names, every, seed, resume, resume_if_any or bool(life))
    raise typer.Exit(code)


def live_on(start: Callable[[int], int]) -> int:
    """Start life 0, 1, ... until one ends by itself; returns its exit code. `start` takes the life's number and gives the exit code.

    Raises:
        UserError: it was killed `MAX_LIVES` times.
    """
    for life in range(MAX_LIVES):
        code = start(life)
        if code != -signal.SIGKILL:
            return code
        console.print(f"the driver was killed; life {life + 2} begins", style="red")
    raise UserError(f"the driver was killed {MAX_LIVES} times: look into the kernel's log for a lack of memory, or give a larger --every")


def start_life(life: int) -> int:
    """This command again, as a child that takes the run up where it stands. SIGTERM is passed on, and the child's end waited for."""
    child: subprocess.Popen[bytes] | None = None
    is_asked = False

    def pass_on(number: int) -> None:
        nonlocal is_asked
        is_asked |= number == signal.SIGTERM
        # A terminal gives Ctrl-C to the child as well.
        if child is not None and number == signal.SIGTERM:
            child.send_signal(number)

    with SIGTERM_STOP.handed_to(pass_on):
        child = subprocess.Popen([*AGAIN, *sys.argv[1:], "--life", str(life)])
        if is_asked:
            child.send_signal(signal.SIGTERM)
        code = child.wait()
    return STOPPED if is_asked and code in (-signal.SIGKILL, -signal.SIGTERM) else code


def _fitting(text: str | None, config: Config, every: float) -> tuple[FaultKind, ...]:
    from actors.chaos.fault_plan import FaultKind
    from actors.chaos.supported_faults import fitting
    from actors.cluster.connect import joined_address

    names = None if text is None else [name.strip() for name in text.split(",")]
    wrong = [name for name in names or () if name not in list(FaultKind)]
    if wrong:
        raise ConfigError(f"--kinds {wrong[0]!r}: there are {', '.join(FaultKind)}")
    named = None if names is None else [FaultKind(name) for name in names]
    kinds, notes = fitting(named, config, every, has_cluster=bool(joined_address(config.cluster)))
    for note in notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return kinds


def _one_life(settings: Config, kinds: tuple[FaultKind, ...], every: float, seed: int, resume: bool, resume_if_any: bool) -> int:
    from actors.chaos.fault_injector import FaultInjector
    from actors.chaos.fault_plan import FaultPlan
    from actors.chaos.fault_records import FAULT_RECORDS_FILE, FaultRecords
    from actors.launch.train import run_online

    folder = RunFolder(settings.run.root, settings.run.name)

    def keep(text: str) -> None:
        folder.write_text(FAULT_RECORDS_FILE, text)

    resume = resume or (resume_if_any and folder.has_begun)
    goes_on = resume and folder.exists(FAULT_RECORDS_FILE)
    records = FaultRecords.from_json(folder.read_text(FAULT_RECORDS_FILE), keep) if goes_on else FaultRecords(keep)
    injector = FaultInjector(FaultPlan(seed, every, kinds, records.lives), records)
    if resume:
        settings = as_begun(settings, folder)
    source, evaluation, judge = sources(settings)
    try:
        summary = run_online(settings, source, evaluation, judge, resume=resume, console=console, beside=injector.run)
    finally:
        console.print(fault_table(records))
    console.print(sums(summary), highlight=False, soft_wrap=True)
    if summary.status == "stopped":
        return STOPPED
    wrong = complaints(summary, records, kinds)
    for line in wrong:
        errors.print(f"[bold red]chaos[/] {line}", highlight=False, soft_wrap=True)
    if not wrong:
        lives = f"{records.lives} {'life' if records.lives == 1 else 'lives'} of the driver"
        console.print(f"{len(records.faults)} faults in {lives}, and nothing was lost", style="green", highlight=False)
    return 1 if wrong else 0
