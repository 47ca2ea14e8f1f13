"""`caig-rl evaluate`: measure what a run has learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from caig_rl.cli.common import Overrides, RunPath, check_root, console, explained, level_of_test, run_address, sources
from caig_rl.cli.text.ab_text import ab_lines, ab_table
from caig_rl.config.load import load_run_config
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.status import CONFIG_FILE as CONFIG
from caig_rl.runs.status import read_config

app = typer.Typer(help="Measure what a run has learned.", no_args_is_help=True)


@app.command("policy")
def evaluate_policy(
    run: RunPath,
    overrides: Overrides = None,
) -> None:
    """Measure initial and final policy of a run on 96 products (evaluation.products), on the same noise.

    They are those that the run held out: products of the click world that it never saw, or its catalog's share (catalog.heldout_share). A
    run that held out nothing is measured on its whole catalog, which it was trained on. Another catalog.path is measured whole.
    """
    from actors.launch.evaluate import evaluate_run

    with explained():
        folder = run_address(run).folder()
        if not folder.exists(CONFIG):
            raise UserError(f"{run} is not a run folder: it holds no {CONFIG}.")
        given = overrides or []
        if not any(text.startswith("evaluation.products=") for text in given):
            given = ["evaluation.products=96", *given]
        settings = evaluation_settings(folder, given)
        _, evaluation, judge = sources(settings)
        if judge is None:
            raise UserError("world.judge is false: without a judge there is no true CTR to measure.")
        evaluate_run(settings, folder, evaluation, judge, console=console)


def evaluation_settings(folder: RunFolder, overrides: Sequence[str]) -> Config:
    """The run's own with `overrides`. Its share is that of its own catalog; of another one it was trained on nothing."""
    text, origin = read_config(folder), folder.path(CONFIG)
    own, settings = load_run_config(text, origin), load_run_config(text, origin, overrides)
    if settings.catalog.path == own.catalog.path or any(one.startswith("catalog.heldout_share=") for one in overrides):
        return settings
    return load_run_config(text, origin, [*overrides, "catalog.heldout_share=0"])


@app.command("ab")
def evaluate_ab_command(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="The service's folder, serve.root.")] = Path("serving"),
    candidate: Annotated[str | None, typer.Option(help="The version that was tried. Default: the latest.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Visitors of this tenant only.")] = None,
    alpha: Annotated[float, typer.Option(callback=level_of_test, help="Level, overall and for all categories together.")] = 0.05,
) -> None:
    """Compare the version being tried with the live one by the clicks in the service's log. It may be asked as often as you like."""
    from caig_rl.evaluation.ab_test import evaluate_ab
    from caig_rl.serving.choice.experiment import experiments, read_experiment
    from caig_rl.serving.events.click_log import read_impressions

    with explained():
        check_root(root)
        log = read_impressions(root, tenant)
        tried = experiments(log)
        if not tried or (candidate is not None and candidate not in tried):
            found = f"it holds {', '.join(tried)}" if tried else "start one with `caig-rl serve promote RUN --traffic 0.1`"
            raise UserError(f"the log in {root} holds no experiment{'' if candidate is None else f' with {candidate!r}'}; {found}.")
        experiment = read_experiment(log, candidate or tried[0])
        result = evaluate_ab(experiment.visitors, experiment.by_category, alpha)
        for line in ab_lines(experiment, result):
            console.print(escape(line), highlight=False, soft_wrap=True)
        console.print(ab_table(result))
    raise typer.Exit(1 if result.verdict == "broken" else 0)
