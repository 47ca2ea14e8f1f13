"""`caig-rl chaos`: a run that is broken on purpose, to see that nothing is lost."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from caig_rl.cli.common import ConfigFile, Overrides, console, explained, resolved_config, sources
from caig_rl.errors import ConfigError


def chaos(
    config: ConfigFile = None,
    overrides: Overrides = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two faults, on average.")] = 120.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides which fault comes when.")] = 0,
    kinds: Annotated[str, typer.Option(help="Faults to inject, by comma: worker, rank, slow, nan, torn.")] = "worker,rank,slow,nan",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
) -> None:
    """Train while a seeded killer takes workers and ranks away. For staging clusters; keep recovery.stall_s short for "slow"."""
    with explained():
        settings = resolved_config(config, overrides)
        from actors.chaos import ChaosPlan, FaultKind, Killer
        from actors.launch import run_online

        names = [name.strip() for name in kinds.split(",")]
        wrong = [name for name in names if name not in list(FaultKind)]
        if wrong:
            raise ConfigError(f"--kinds {wrong[0]!r}: there are {', '.join(FaultKind)}")
        killer = Killer(ChaosPlan(seed, every, tuple(FaultKind(name) for name in names)), lambda text: console.print(text, style="red"))
        source, evaluation, judge = sources(settings)
        summary = run_online(settings, source, evaluation, judge, resume=resume, console=console, beside=killer.run)
    table = Table("fault", "injected", title="chaos")
    for kind, count in sorted(killer.done.items()):
        table.add_row(kind, str(count))
    console.print(table)
    products = summary.products
    outcomes = products.trained + products.tied + products.expired + sum(products.failed.values())
    console.print(f"{products.admitted} admissions, {outcomes} outcomes, {products.in_flight} in flight", highlight=False)
    raise typer.Exit(75 if summary.status == "stopped" else 0)
