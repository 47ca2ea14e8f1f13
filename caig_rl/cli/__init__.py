"""`caig-rl`: the command line, one file a group of commands. The only part of the library that reaches into `actors`, and that prints."""

from __future__ import annotations

import logging
import os
import shutil
from typing import Annotated

import typer

import caig_rl.cli.first  # noqa: F401  it must be at work before the imports that follow, which take seconds
from caig_rl import __version__
from caig_rl.cli import ablate, chaos, data, evaluate, machine, nano, pretrain, reward, serve, status, submit, train
from caig_rl.logs import unspoken

app = typer.Typer(
    help="Ad creatives that people click, optimised online by reinforcement learning.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.command()(train.train)
app.command()(submit.submit)
app.command()(status.status)
app.command()(train.report)
app.command()(ablate.ablate)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(data.app, name="data")
app.command()(pretrain.pretrain)
app.add_typer(reward.app, name="reward")
app.add_typer(serve.app, name="serve")
app.command()(machine.world)
app.add_typer(nano.app, name="nano")
app.command()(machine.doctor)
app.command()(chaos.chaos)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"caig-rl {__version__}")
        raise typer.Exit


@app.callback()
def _logging(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    # Without torchvision transformers says at every start that it uses its PIL image processors: that is how it is meant here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # A bar for each model folder that is read, in the middle of our own lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if shutil.which("nvidia-smi") is None:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(unspoken)
