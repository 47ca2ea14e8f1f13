"""`caig-rl evaluate`: measure what a run has learned."""

from __future__ import annotations

import typer

from caig_rl.cli.common import Overrides, RunPath, console, explained, sources
from caig_rl.config.load import load_config
from caig_rl.errors import UserError

app = typer.Typer(help="Measure what a run has learned.", no_args_is_help=True)


@app.command("policy")
def evaluate_policy(
    run: RunPath,
    overrides: Overrides = None,
) -> None:
    """Measure initial and final policy of a run on held-out products, on the same noise. Default: 96 products."""
    from actors.launch import evaluate_run

    with explained():
        config_file = run / "config.yaml"
        if not config_file.is_file():
            raise UserError(f"{run} is not a run folder: it holds no config.yaml.")
        given = overrides or []
        if not any(text.startswith("evaluation.products=") for text in given):
            given = ["evaluation.products=96", *given]
        settings = load_config(config_file, given)
        _, evaluation, judge = sources(settings)
        if judge is None:
            raise UserError("world.judge is false: without a judge there is no true CTR to measure.")
        evaluate_run(settings, run, evaluation, judge, console=console)
