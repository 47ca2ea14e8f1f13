"""`caig-rl submit`: send a run to a Ray cluster as a job, and follow it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from caig_rl.cli.common import ConfigFile, Overrides, check_resume, console, errors, explained, file_and_overrides
from caig_rl.config.load import load_config
from caig_rl.errors import ConfigError


def submit(
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Annotated[str, typer.Option(help="Dashboard of the Ray head.", envvar="RAY_API_SERVER_ADDRESS")] = "http://127.0.0.1:8265",
    working_dir: Annotated[str, typer.Option(help="Folder that is sent along, or the URI of a zip file.")] = ".",
    pip: Annotated[list[str] | None, typer.Option(help="A package that the nodes must install; repeatable.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the job and its workers; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest complete checkpoint.")] = False,
    resume_if_any: Annotated[bool, typer.Option("--resume-if-any", help="As --resume where the run has begun, else start.")] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--change", metavar="KEY", help="With --resume: take the new value of this key, like learner.lr."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show the log until the job ends, and exit as it did.")] = True,
) -> None:
    """Run `train` as a job on a Ray cluster. Ending this command does not end the job."""
    from actors.submission.job_client import JobClient
    from actors.submission.job_request import JobOptions, dashboard_address, job_request

    with explained():
        check_resume(resume, resume_if_any, change)
        config_file, given = file_and_overrides(config, overrides)
        settings = load_config(config_file, given)
        where = dashboard_address(address)
        flags = [name for name, is_asked in (("--resume", resume), ("--resume-if-any", resume_if_any)) if is_asked]
        flags += [f"--change={key}" for key in change or ()]
        options = JobOptions(working_dir, tuple(pip or ()), _variables(env or []), tuple(flags))
        request = job_request(config_file, given, settings, options, where)
        client = JobClient(where)
        job_id = client.submit(request)
        errors.print(f"job {job_id} on {where}, run folder {request.metadata['caig_rl_run']}", highlight=False, soft_wrap=True)
        errors.print(f"  stop it, with a checkpoint: ray job stop --no-wait --address {where} {job_id}", highlight=False, soft_wrap=True)
        if not follow:
            console.print(job_id, highlight=False)
            return
        try:
            code = client.follow(
                job_id, _write, lambda text: errors.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
            )
        except KeyboardInterrupt:
            again = f"ray job logs --follow --address {where} {job_id}"
            errors.print(f"\njob {job_id} goes on; see it again: {again}", highlight=False, soft_wrap=True)
            raise typer.Exit(130) from None
    raise typer.Exit(code)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _variables(assignments: list[str]) -> dict[str, str]:
    for text in assignments:
        if not text.partition("=")[0] or "=" not in text:
            raise ConfigError(f"--env {text}: a variable is written NAME=VALUE")
    return dict(text.split("=", 1) for text in assignments)
