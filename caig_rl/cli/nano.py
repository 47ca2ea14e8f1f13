"""`caig-rl nano`: build and measure the embedded models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from caig_rl.cli.common import console, explained
from caig_rl.config.schema import Config

app = typer.Typer(help="The embedded models.", no_args_is_help=True)


@app.command("build")
def nano_build(
    folder: Annotated[Path, typer.Option(help="Where the stages are kept; a stage that is there is not run again.")] = Path("build/nano"),
    install: Annotated[bool, typer.Option(help="Copy the finished models into the package.")] = True,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this stage alone, and anew, from what is built or shipped; may be given again.")
    ] = None,
    segments: Annotated[bool, typer.Option("--segments", help="Teach reward models the world's segments of shoppers too.")] = False,
) -> None:
    """Build the embedded models from the click world alone, stage by stage: hours on two cores, resumable.

    The reward model from the shipped policy and renderer: --only creatives --only backbone --only reward. The guard, from the shipped
    backbone too: --only guard_creatives --only guard_reward.
    """
    import torch

    from caig_rl.nano.build import BuildPlan, NanoBuilder

    torch.set_num_threads(threads)
    with explained(), _stage_bars() as progress:
        builder = NanoBuilder(folder, BuildPlan(reward_segments=segments), Config(), progress)
        builder.run(only or [])
        installed = builder.install(only or []) if install else []
    console.print(f"models: {folder}" + (f"; installed into the package: {', '.join(installed)}" if installed else ""))


@app.command("check")
def nano_check(
    prompts: Annotated[int, typer.Option(help="Prompts to render for steering.")] = 500,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Measure the embedded models: size, the world's eyes, how well words steer the picture, the policy's sight, the reward
    model."""
    from rich.progress import Progress

    from caig_rl.nano.check import check_nano

    with explained(), Progress(console=console, transient=True) as bars:
        task = bars.add_task("rendering", total=prompts)
        quality = check_nano(prompts, threads, lambda done: bars.update(task, completed=done))
    console.print(f"weights   {quality.megabytes:.1f} MB", highlight=False)
    for name, shares in quality.eyes.items():
        console.print(f"eyes      {name:10} " + _shares(shares), highlight=False)
    console.print(f"steering  {prompts} prompts " + _shares(quality.steering), highlight=False)
    console.print(f"gate      refuses {quality.unusable:.1%}", highlight=False)
    console.print("sight     " + ", ".join(f"{name} {value:.2f} nats" for name, value in quality.sight.items()), highlight=False)
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
