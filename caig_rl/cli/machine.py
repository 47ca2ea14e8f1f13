"""`caig-rl world` and `caig-rl doctor`: the click world in pictures, and the state of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table

from caig_rl.cli.common import ConfigFile, Overrides, check_writable, console, explained, resolved_config


def world(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the log.")] = Path("runs/world"),
    seed: Annotated[int, typer.Option(min=0, help="World seed.")] = 0,
    num_products: Annotated[int, typer.Option(min=1, help="Products to draw.")] = 24,
    creatives: Annotated[int, typer.Option(min=1, help="Creatives a product; two or more give pairs to learn from.")] = 1,
    trap: Annotated[
        Literal["true", "false", "varied"], typer.Option(help="What a neon city is worth to shoppers, as in world.trap.")
    ] = "true",
    unseen_categories: Annotated[int, typer.Option(min=0, max=12, help="Categories left out, as by world.unseen_categories.")] = 0,
) -> None:
    """Draw products of the click world in scenes of their own, show them to its shoppers, and write the log they leave."""
    from caig_rl.world.show import show_world
    from caig_rl.world.tastes import Trap

    with explained():
        check_writable(out, "--out")
        with Progress(console=console, transient=True) as bar:
            drawn = bar.add_task("products", total=num_products)
            worth: Trap = "varied" if trap == "varied" else trap == "true"
            paths = show_world(out, seed, num_products, creatives, lambda: bar.advance(drawn), worth, unseen_categories)
        for path in paths:
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def doctor(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Check the machine and the installation, and say in words what to do."""
    from caig_rl.doctor.run import run_checks

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    with explained():
        checks = run_checks(resolved_config(config, overrides))
    table = Table("check", "", Column("found", overflow="fold"), Column("what to do", overflow="fold"))
    for check in checks:
        table.add_row(escape(check.name), f"[{colours[check.status]}]{check.status}[/]", escape(check.detail), escape(check.advice))
    console.print(table)
    raise typer.Exit(1 if any(check.status == "fail" for check in checks) else 0)
