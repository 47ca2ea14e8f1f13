"""What the commands share: the console, argument types, messages with exit codes, and what a config names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.data.rows import FILE_KINDS
from caig_rl.errors import ConfigError, UserError
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.runs.folder import RunFolder

console = Console()
errors = Console(stderr=True)

# Text, not a path: where CONFIG is left out the first override stands here, and a `Path` would turn its "s3://" into "s3:/".
ConfigFile = Annotated[
    str | None, typer.Argument(metavar="CONFIG", help="YAML file; see configs/. Nothing: the defaults.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, like learner.lr=1e-4.", show_default=False)
]
RunPath = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, like runs/demo or s3://bucket/runs/demo.")]


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error that the user can mend into its message and an exit code: 2 for a wrong config, 1 for the rest."""
    try:
        yield
    except ConfigError as error:
        errors.print(f"[bold red]error[/] {escape(str(error))}", highlight=False, soft_wrap=True)
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


def file_and_overrides(config: str | None, overrides: list[str] | None) -> tuple[Path | None, list[str]]:
    """CONFIG may be left out: a first argument with "=" in it is an override."""
    given = list(overrides or [])
    if config is None or "=" in config:
        return None, [*([] if config is None else [config]), *given]
    file = Path(config)
    if file.suffix.lower() in FILE_KINDS:
        raise ConfigError(
            f"{config} is no configuration: did you mean catalog.path={config}, a catalog, or clicks.path={config}, a click log?"
        )
    return file, given


def resolved_config(config: str | None, overrides: list[str] | None) -> Config:
    """The configuration that the command line names."""
    return load_config(*file_and_overrides(config, overrides))


def check_resume(resume: bool, resume_if_any: bool, change: list[str] | None) -> None:
    """Raise ConfigError where the options of a resume contradict each other."""
    if resume and resume_if_any:
        raise ConfigError("--resume and --resume-if-any contradict each other where there is nothing to resume: give one of them")
    if change and not (resume or resume_if_any):
        raise ConfigError(f"--change {change[0]} is for a run that is gone on with: give --resume or --resume-if-any too")


class RunAddress(NamedTuple):
    """Where a run folder lies."""

    parent: str
    """Path or fsspec URI of the folder that holds it."""
    name: str

    def folder(self) -> RunFolder:
        """The folder there. Raises UserError for an address of a kind that cannot be reached from this machine."""
        return RunFolder(self.parent, self.name)


def run_address(run: str) -> RunAddress:
    """The address that a person gave, as a path or as an fsspec URI; a `Path` would turn "s3://" into "s3:/"."""
    scheme, found, rest = run.partition("://")
    if not found:
        path = Path(run).expanduser().resolve()
        return RunAddress(str(path.parent), path.name)
    parent, _, name = rest.rstrip("/").rpartition("/")
    return RunAddress(f"{scheme}://{parent}", name)


def check_writable(folder: Path, option: str) -> None:
    """Make `folder`, which `option` named, and see that files can be made in it. Raises UserError where they cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder}: no folder that can be written ({error.strerror}); name another") from error


def check_root(root: Path) -> None:
    """Raise UserError where there is no folder `root` of a service: a typing error must not read as an empty log, nor hide a key."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}: name the service's folder, serve.root (`caig-rl serve run` makes it).")


def share_above_zero(value: float) -> float:
    """For options: above 0 and at most 1. Raises BadParameter otherwise, before anything is begun."""
    if not 0.0 < value <= 1.0:
        raise typer.BadParameter(f"{value:g} is not above 0 and at most 1")
    return value


def level_of_test(value: float) -> float:
    """For options: above 0 and below 1. Raises BadParameter otherwise."""
    if not 0.0 < value < 1.0:
        raise typer.BadParameter(f"{value:g} is not above 0 and below 1")
    return value


def sources(config: Config) -> tuple[ProductSource, ProductSource, Judge | None]:
    """Training products, evaluation products and the judge that `config` names.

    The evaluation's are held out, unless `caig_rl.data.catalog_split` holds out nothing of the catalog: then both are all of its products.
    Raises UserError for a catalog that cannot be read, or for segments that the judge's shoppers do not have.
    """
    from caig_rl.data.catalog import load_catalog
    from caig_rl.data.catalog_split import split_catalog
    from caig_rl.segments import segment_shares
    from caig_rl.world.judge import WorldJudge
    from caig_rl.world.products import WorldProducts, unseen_categories

    world = config.world
    judge = WorldJudge.of(world) if world.judge else None
    # Refuses names of segments that the shoppers do not have, before anything is begun.
    segment_shares(config, judge)
    if config.catalog.path:
        train, held_out = split_catalog(load_catalog(config.catalog, config.imaging.size), config.catalog.heldout_share)
        return train, held_out, judge
    unseen = unseen_categories(world.seed, world.unseen_categories)
    drawn = WorldProducts(world.seed, world.num_products, "train", without=unseen)
    return drawn, WorldProducts(world.seed, config.evaluation.products, "eval", flagged=unseen), judge
