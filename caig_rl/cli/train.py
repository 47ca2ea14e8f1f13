"""`caig-rl train` and `caig-rl report`: a run, and its report."""

from __future__ import annotations

from typing import Annotated

import typer

from caig_rl.cli.common import (
    ConfigFile,
    Overrides,
    RunPath,
    check_resume,
    console,
    explained,
    resolved_config,
    run_address,
    run_console,
    sources,
)
from caig_rl.runs.config_history import as_begun
from caig_rl.runs.folder import RunFolder


def train(
    config: ConfigFile = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
    resume_if_any: Annotated[bool, typer.Option("--resume-if-any", help="As --resume where the run has begun, else start.")] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--change", metavar="KEY", help="With --resume: take the new value of this key, like learner.lr."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print config, actors, placement, memory; refuse what a run would; stop.")
    ] = False,
) -> None:
    """Optimise the policy online: sample, render, score, learn, again; then write the report."""
    from caig_rl.cli.dry_run import refuse_what_cannot_fit, rehearse, show_plan
    from caig_rl.runs.trackers.trackers import refuse_missing_trackers

    with explained():
        check_resume(resume, resume_if_any, change)
        settings = resolved_config(config, overrides)
        folder = RunFolder(settings.run.root, settings.run.name)
        resume = resume or (resume_if_any and folder.has_begun)
        if resume:
            settings = as_begun(settings, folder)
        if dry_run:
            show_plan(settings)
            rehearse(settings, resume=resume, asked=change or ())
            return
        refuse_what_cannot_fit(settings)
        refuse_missing_trackers(settings)
        shown = run_console(settings)
        from actors.launch.train import run_online

        source, evaluation, judge = sources(settings)
        summary = run_online(settings, source, evaluation, judge, resume=resume, console=shown, asked=change or ())
    raise typer.Exit(75 if summary.status == "stopped" else 0)


def report(run: RunPath) -> None:
    """Write the run's report.html again."""
    from caig_rl.reports.run_report import write_report

    with explained():
        console.print(f"report: {write_report(run_address(run).folder())}")
