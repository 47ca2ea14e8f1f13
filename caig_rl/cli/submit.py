"""`caig-rl submit`: send a run, or an ablation, to a Ray cluster as a job, and follow it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from caig_rl.cli.ablate import Only, Seeds, plan_of
from caig_rl.cli.common import Overrides, check_resume, console, errors, explained, file_and_overrides
from caig_rl.config.load import load_config
from caig_rl.errors import ConfigError

if TYPE_CHECKING:
    from actors.submission.job_request import JobOptions, JobRequest

Job = Literal["train", "ablate"]
# As `ConfigFile`: where the job's name is left out, the file stands here, and where that is left out too, the first override.
JobOrConfig = Annotated[
    str | None,
    typer.Argument(metavar="[ablate] CONFIG", help="YAML file of a run; after the word ablate, that of an ablation.", show_default=False),
]


def submit(
    config: JobOrConfig = None,
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
    only: Only = None,
    seeds: Seeds = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Show the log until the job ends, and exit as it did.")] = True,
) -> None:
    """Run `train`, or `ablate`, as a job on a Ray cluster. Ending this command does not end the job."""
    from actors.submission.job_client import JobClient
    from actors.submission.job_request import JobOptions, dashboard_address

    with explained():
        check_resume(resume, resume_if_any, change)
        job, file, given = _job(config, overrides or [])
        flags = [name for name, is_asked in (("--resume", resume), ("--resume-if-any", resume_if_any)) if is_asked]
        flags += [f"--change={key}" for key in change or ()]
        selected = [f"--{name}={text}" for name, text in (("only", only), ("seeds", seeds)) if text is not None]
        _check_flags(job, flags, selected)
        where = dashboard_address(address)
        options = JobOptions(working_dir, tuple(pip or ()), _variables(env or []), (*flags, *selected), job)
        request = _train(file, given, options, where) if job == "train" else _ablate(file, given, options, where, only, seeds)
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


def _job(config: str | None, overrides: list[str]) -> tuple[Job, str | None, list[str]]:
    """What is run, the file that is given, and the overrides."""
    if config not in ("train", "ablate"):
        return "train", config, overrides
    return ("train" if config == "train" else "ablate"), (overrides[0] if overrides else None), overrides[1:]


def _check_flags(job: Job, flags: list[str], selected: list[str]) -> None:
    if job == "ablate" and flags:
        raise ConfigError(f"{flags[0]}: an ablation goes on where it stands by itself; give the same command again")
    if job == "train" and selected:
        raise ConfigError(f"{selected[0]} selects arms and seeds of an ablation: caig-rl submit ablate FILE")


def _train(file: str | None, overrides: list[str], options: JobOptions, address: str) -> JobRequest:
    from actors.submission.job_request import job_request

    config_file, given = file_and_overrides(file, overrides)
    return job_request(config_file, given, load_config(config_file, given), options, address)


def _ablate(file: str | None, overrides: list[str], options: JobOptions, address: str, only: str | None, seeds: str | None) -> JobRequest:
    from actors.submission.job_request import job_request, refuse_unsent

    config_file, given = file_and_overrides(file, overrides)
    if config_file is None:
        raise ConfigError("submit ablate: name the ablation's file, like configs/ablate.yaml")
    plan = plan_of(config_file, given, only, seeds)
    ablation = plan.ablation
    base = load_config(ablation.base, [*ablation.overrides, *given])
    refuse_unsent(ablation.base, base, [cell.config for cell in plan.cells], options)
    named = base.model_copy(update={"run": base.run.model_copy(update={"name": plan.name})})
    return job_request(config_file, given, named, options, address)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _variables(assignments: list[str]) -> dict[str, str]:
    for text in assignments:
        if not text.partition("=")[0] or "=" not in text:
            raise ConfigError(f"--env {text}: a variable is written NAME=VALUE")
    return dict(text.split("=", 1) for text in assignments)
