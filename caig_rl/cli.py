"""`caig-rl`: the command line. The only file of the library that reaches into `actors`, and that prints."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from caig_rl.config.load import config_yaml, load_config
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError, UserError
from caig_rl.interfaces import Judge, ProductSource

app = typer.Typer(
    help="Ad creatives that people click, optimised online by reinforcement learning.", no_args_is_help=True, pretty_exceptions_enable=False
)
nano_app = typer.Typer(help="The embedded models.", no_args_is_help=True)
data_app = typer.Typer(help="Catalogs and click logs.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure what a run has learned.", no_args_is_help=True)
app.add_typer(nano_app, name="nano")
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")

console = Console()
_errors = Console(stderr=True)

ConfigFile = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="YAML file; see configs/. Nothing: the defaults.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, like learner.lr=1e-4.", show_default=False)
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, like runs/demo.")]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an error that the user can mend into its message and an exit code: 2 for a wrong config, 1 for the rest."""
    try:
        yield
    except ConfigError as error:
        _errors.print(f"[bold red]wrong configuration[/]\n{escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    except UserError as error:
        _errors.print(f"[bold red]error[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _settings(config: Path | None, overrides: list[str] | None) -> Config:
    """CONFIG may be left out: a first argument with "=" in it is an override."""
    given = list(overrides or [])
    if config is not None and "=" in str(config):
        given.insert(0, str(config))
        config = None
    return load_config(config, given)


def _sources(config: Config) -> tuple[ProductSource, ProductSource, Judge | None]:
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


@app.callback()
def _logging(verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False) -> None:
    # Without torchvision transformers says at every start that it uses its PIL image processors: that is how it is meant here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if shutil.which("nvidia-smi") is None:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")


@app.command()
def train(
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved config and the actors, and stop.")] = False,
) -> None:
    """Optimise the policy online: sample, render, score, learn, again; then write the report."""
    with _explained():
        settings = _settings(config, overrides)
        if dry_run:
            console.print(config_yaml(settings), markup=False, highlight=False, soft_wrap=True)
            console.print(_actor_table(settings))
            return
        from actors.launch import run_online

        source, evaluation, judge = _sources(settings)
        summary = run_online(settings, source, evaluation, judge, resume=resume, console=console)
    raise typer.Exit(75 if summary.status == "stopped" else 0)


def _actor_table(config: Config) -> Table:
    table = Table("actors", "number", "CPUs each", "GPUs each", "threads each", title="actors")
    for name in ("policy", "renderer", "scorer"):
        pool = getattr(config.pools, name)
        table.add_row(name, str(pool.workers), f"{pool.num_cpus:g}", f"{pool.num_gpus:g}", str(pool.threads))
    learner = config.learner
    table.add_row("learner", str(learner.world_size), f"{learner.num_cpus:g}", f"{learner.num_gpus:g}", str(learner.threads))
    return table


@app.command()
def report(run: RunPath) -> None:
    """Write the run's report.html again."""
    from caig_rl.evaluation.report import write_report
    from caig_rl.evaluation.run_folder import RunFolder

    with _explained():
        console.print(f"report: {write_report(RunFolder(str(run.parent), run.name))}")


@evaluate_app.command("policy")
def evaluate_policy(
    run: RunPath,
    overrides: Overrides = None,
) -> None:
    """Measure initial and final policy of a run on held-out products, on the same noise. Default: 96 products."""
    from actors.launch import evaluate_run

    with _explained():
        config_file = run / "config.yaml"
        if not config_file.is_file():
            raise UserError(f"{run} is not a run folder: it holds no config.yaml.")
        given = overrides or []
        if not any(text.startswith("evaluation.products=") for text in given):
            given = ["evaluation.products=96", *given]
        settings = load_config(config_file, given)
        _, evaluation, judge = _sources(settings)
        if judge is None:
            raise UserError("world.judge is false: without a judge there is no true CTR to measure.")
        evaluate_run(settings, run, evaluation, judge, console=console)


@nano_app.command("build")
def nano_build(
    folder: Annotated[Path, typer.Option(help="Where the stages are kept; a stage that is there is not run again.")] = Path("build/nano"),
    install: Annotated[bool, typer.Option(help="Copy the finished models into the package.")] = True,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Build the embedded models from the click world alone, stage by stage: hours on two cores, resumable."""
    import torch

    from caig_rl.nano.build import BuildPlan, NanoBuilder

    torch.set_num_threads(threads)
    with _explained(), _stage_bars() as progress:
        builder = NanoBuilder(folder, BuildPlan(), Config(), progress)
        builder.run()
        if install:
            builder.install()
    console.print(f"models: {folder}" + (", installed into the package" if install else ""))


@nano_app.command("check")
def nano_check(
    prompts: Annotated[int, typer.Option(help="Prompts to render for steering.")] = 500,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Measure the embedded models: size, the world's eyes, how well words steer the picture, the reward model."""
    from rich.progress import Progress

    from caig_rl.nano.check import check_nano

    with _explained(), Progress(console=console, transient=True) as bars:
        task = bars.add_task("rendering", total=prompts)
        quality = check_nano(prompts, threads, lambda done: bars.update(task, completed=done))
    console.print(f"weights   {quality.megabytes:.1f} MB", highlight=False)
    for name, shares in quality.eyes.items():
        console.print(f"eyes      {name:10} " + _shares(shares), highlight=False)
    console.print(f"steering  {prompts} prompts " + _shares(quality.steering), highlight=False)
    console.print(f"gate      refuses {quality.unusable:.1%}", highlight=False)
    console.print("reward    " + ", ".join(f"{name} {value:.3f}" for name, value in quality.reward.items()), highlight=False)


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


@contextmanager
def _stage_bars() -> Iterator[Any]:
    """A progress bar for each stage that reports."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def report_step(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=steps, loss=loss)
            bars.update(tasks[stage], completed=step, loss=loss)

        yield report_step


@app.command()
def world(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the log.")] = Path("runs/world"),
    seed: Annotated[int, typer.Option(help="World seed.")] = 0,
    num_products: Annotated[int, typer.Option(help="Products to draw.")] = 24,
) -> None:
    """Draw products of the click world in scenes of their own, show them to its shoppers, and write the log they leave."""
    from caig_rl.world.show import show_world

    with _explained():
        for path in show_world(out, seed, num_products):
            console.print(f"wrote {path}")


@data_app.command("inspect")
def data_inspect(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Read a catalog and say what is in it: products, categories, cut-outs, and every rejected row with its reason."""
    from caig_rl.data.inspect import inspect_catalog

    with _explained():
        source, _, _ = _sources(_settings(config, overrides))
        summary = inspect_catalog(source)
        console.print(f"{summary.num_products} products, {sum(r.count for r in summary.rejected.values())} rows rejected")
        table = Table("category", "products")
        for name, count in summary.categories.items():
            table.add_row(escape(name), str(count))
        console.print(table)
        console.print("cut-outs: " + ", ".join(f"{count} by {method}" for method, count in summary.methods.items()))
        if summary.confidence:
            console.print("confidence of made cut-outs: " + ", ".join(f"{q:.0%} {value:.2f}" for q, value in summary.confidence.items()))
        for reason, rejection in summary.rejected.items():
            console.print(
                f"[yellow]{reason}[/] {rejection.count}",
                *(f"  {escape(example)}" for example in rejection.examples),
                sep="\n",
                highlight=False,
            )


@app.command()
def doctor(config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Check the machine and the installation, and say in words what to do."""
    from caig_rl.doctor.run import run_checks

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    with _explained():
        checks = run_checks(_settings(config, overrides))
    table = Table("check", "", "found", "what to do")
    for check in checks:
        table.add_row(escape(check.name), f"[{colours[check.status]}]{check.status}[/]", escape(check.detail), escape(check.advice))
    console.print(table)
    raise typer.Exit(1 if any(check.status == "fail" for check in checks) else 0)


if __name__ == "__main__":
    app()
