"""What the commands share: the console, argument types, messages with exit codes, and what a config names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError, UserError
from caig_rl.interfaces import Judge, ProductSource

console = Console()
errors = Console(stderr=True)

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="YAML file; see configs/. Nothing: the defaults.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, like learner.lr=1e-4.", show_default=False)
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, like runs/demo.")]


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error that the user can mend into its message and an exit code: 2 for a wrong config, 1 for the rest."""
    try:
        yield
    except ConfigError as error:
        errors.print(f"[bold red]wrong configuration[/]\n{escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    except UserError as error:
        errors.print(f"[bold red]error[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def run_console(config: Config) -> Console:
    """Where a run speaks to a person: nowhere, where standard output is kept for JSON lines."""
    if not config.logs.stdout:
        return console
    # The handler of warnings in plain text, which `caig_rl.cli` put there: the JSON lines hold them.
    logging.getLogger().handlers.clear()
    return Console(quiet=True)


def resolved_config(config: Path | None, overrides: list[str] | None) -> Config:
    """CONFIG may be left out: a first argument with "=" in it is an override."""
    given = list(overrides or [])
    if config is not None and "=" in str(config):
        given.insert(0, str(config))
        config = None
    return load_config(config, given)


def sources(config: Config) -> tuple[ProductSource, ProductSource, Judge | None]:
    """Training products, evaluation products and the judge that `config` names."""
    from caig_rl.data.catalog import load_catalog
    from caig_rl.world.judge import WorldJudge
    from caig_rl.world.products import WorldProducts

    judge = WorldJudge(config.world.seed) if config.world.judge else None
    if config.catalog.path:
        catalog = load_catalog(config.catalog, config.imaging.size)
        return catalog, catalog, judge
    train = WorldProducts(config.world.seed, config.world.num_products, "train")
    return train, WorldProducts(config.world.seed, config.evaluation.products, "eval"), judge
