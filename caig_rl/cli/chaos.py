"""`caig-rl chaos`: a run that is broken on purpose, to see that nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, sources
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError, UserError

if TYPE_CHECKING:
    from actors.chaos import FaultKind, Killer

MAX_LIVES = 100
"""Times that a driver is started again, before something else than the plan must be killing it."""


def chaos(
    config: ConfigFile = None,
    overrides: Overrides = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two faults, on average.")] = 120.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides which fault comes when.")] = 0,
    kinds: Annotated[
        str, typer.Option(help="Faults to inject, by comma: worker, rank, node, driver, object, slow, nan, disk, torn.")
    ] = "worker,rank,object,slow,nan",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
    life: Annotated[int | None, typer.Option(min=0, hidden=True, help="Set by this command where it starts itself again.")] = None,
) -> None:
    """Train while a seeded killer takes things away. For staging clusters; keep recovery.stall_s short for "slow"."""
    with explained():
        settings = resolved_config(config, overrides)
        names = _kinds(kinds)
        if "driver" in names and life is None:
            # The driver cannot bring itself back: each of its lives is a process of its own.
            raise typer.Exit(live_on(start_life))
        code = _one_life(settings, names, every, seed, life or 0, resume)
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
    """This command again, as a child that takes the run up where it stands."""
    again = [sys.executable, "-m", "caig_rl.cli", *sys.argv[1:], "--life", str(life)]
    child = subprocess.Popen(again)
    before = [
        signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number)),
        # A terminal gives Ctrl-C to the child as well.
        signal.signal(signal.SIGINT, lambda number, frame: None),
    ]
    try:
        return child.wait()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def _kinds(text: str) -> list[FaultKind]:
    from actors.chaos import FaultKind

    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if name not in list(FaultKind)]
    if wrong:
        raise ConfigError(f"--kinds {wrong[0]!r}: there are {', '.join(FaultKind)}")
    return [FaultKind(name) for name in names]


def _one_life(settings: Config, kinds: list[FaultKind], every: float, seed: int, life: int, resume: bool) -> int:
    from actors.chaos import ChaosPlan, Killer
    from actors.launch import run_online
    from caig_rl.evaluation.run_folder import RunFolder

    resume = resume or (life > 0 and RunFolder(settings.run.root, settings.run.name).has_begun)
    killer = Killer(ChaosPlan(seed, every, tuple(kinds), life), lambda text: console.print(text, style="red"))
    source, evaluation, judge = sources(settings)
    summary = run_online(settings, source, evaluation, judge, resume=resume, console=console, beside=killer.run)
    _show(killer)
    products = summary.products
    outcomes = products.trained + products.tied + products.expired + sum(products.failed.values())
    console.print(f"{products.admitted} admissions, {outcomes} outcomes, {products.in_flight} in flight", highlight=False)
    return 75 if summary.status == "stopped" else 0


def _show(killer: Killer) -> None:
    table = Table("fault", "injected", title="chaos")
    for kind, count in sorted(killer.done.items()):
        table.add_row(kind, str(count))
    console.print(table)
