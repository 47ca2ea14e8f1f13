"""`caig-rl status`: a live table of a run, or of the jobs of a cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from caig_rl.cli.common import console, explained, run_address
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.status import RunStatus, read_status
from caig_rl.wording import counted, duration

_MOST_JOBS = 20
_MOST_WORDS = 240
"""Characters of a job's last words."""
_ENDED = ("done", "stopped", "failed")
_COLOURS = {"done": "green", "running": "cyan", "starting": "cyan", "stopped": "yellow"} | dict.fromkeys(
    ("silent", "gone", "not begun", "failed"), "red"
)
_ROUND_COLUMNS = ("pairs", "reward_score", "relevance", "ctr", "kl", "loss", "distinct_prompts", "seconds")
_HEADS = {"seconds": "took"}


def status(
    target: Annotated[str, typer.Argument(metavar="ADDRESS|RUN", help="A run folder, or the dashboard of a Ray head.")],
    once: Annotated[bool, typer.Option("--once", help="Print once and end.")] = False,
    every_s: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
) -> None:
    """Show how a run stands, until it ends: rounds, rates, pools, staleness, versions, the last failures. Or a cluster's jobs."""
    with explained():
        dashboard = _dashboard(target)
        look = _cluster(dashboard) if dashboard else _run(run_address(target).folder())
        table, ended = look()
        if once or not console.is_terminal:
            console.print(table)
            return
        with Live(table, console=console, auto_refresh=False) as live:
            while not ended:
                time.sleep(every_s)
                table, ended = look()
                live.update(table, refresh=True)


Look = Callable[[], tuple[RenderableType, bool]]
"""What to show now, and whether nothing will change any more."""


def _dashboard(target: str) -> str:
    """The address, where `target` is one; "HOST:PORT" is, unless a folder has that name."""
    if target.startswith(("http://", "https://")):
        return target
    return f"http://{target}" if re.fullmatch(r"[\w.-]+:\d+", target) and not Path(target).exists() else ""


def _run(folder: RunFolder) -> Look:
    def look() -> tuple[RenderableType, bool]:
        current = read_status(folder)
        return table_of(current), current.state in _ENDED

    return look


def _cluster(address: str) -> Look:
    from actors.submission.job_client import JobClient

    client = JobClient(address.rstrip("/"))

    def look() -> tuple[RenderableType, bool]:
        jobs = [job for job in client.jobs() if job.submission_id][:_MOST_JOBS]
        if not jobs:
            return Text(f"{address} has had no job yet; send one: caig-rl submit CONFIG --address {address}"), True
        return jobs_table(jobs), all(job.status.is_terminal() for job in jobs)

    return look


def table_of(run: RunStatus) -> RenderableType:
    """The whole view."""
    parts: list[RenderableType] = [Text.from_markup(_head(run))]
    if run.live:
        has_ended = run.state in _ENDED
        parts += [_pools(run.live, has_ended), _numbers(run.live, has_ended)]
    if run.rounds:
        parts.append(_rounds(run.rounds[-5:]))
    if run.failures:
        parts.append(_failures(run.failures))
    return Group(*parts)


def _head(run: RunStatus) -> str:
    colour = _COLOURS.get(run.state, "white")
    words = [f"[bold]{escape(run.name)}[/]  [{colour}]{run.state}[/]"]
    if run.live:
        version = f"{run.live.get('incarnation', 0)}.{run.live['version']}"
        words.append(f"round {run.live['rounds_done']} of {run.live['rounds_planned']}  policy version {version}")
    if restarts := run.live.get("learner_restarts"):
        words.append(f"[yellow]learner re-formed {counted(restarts, 'time')}[/]")
    if run.summary is not None and run.summary.survived is not None and run.summary.survived.resumes:
        words.append(f"[yellow]resumed {counted(run.summary.survived.resumes, 'time')}[/]")
    if run.state == "silent":
        words.append(f"[red]nothing written for {duration(run.silent_s or 0.0)}: the process is gone, or its disk is[/]")
    if run.state == "gone":
        words.append(f"[red]its driver ({escape(str(run.driver))}) is gone; go on by the same command with --resume-if-any[/]")
    if run.state == "not begun":
        words.append(f"[red]its driver ({escape(str(run.driver))}) ended before the run began; start it again by the same command[/]")
    if run.summary is not None and run.summary.failure:
        words.append(f"[red]{escape(run.summary.failure)}[/]")
    if run.summary is not None and run.summary.ctr is not None:
        words.append(f"CTR lift {run.summary.ctr.lift:+.1%}")
    return "  ".join(words)


def _pools(live: dict[str, Any], has_ended: bool) -> Table:
    heads = ("pool", "desired", "ready", "busy", "replaced", "versions")
    table = Table(*heads, caption="as they were at the end" if has_ended else None, caption_justify="left")
    for name, pool in live["pools"].items():
        versions = ", ".join(f"{worker}: {version}" for worker, version in pool["versions"].items())
        table.add_row(name, *(str(pool[key]) for key in ("desired", "ready", "busy", "replaced")), escape(versions))
    return table


def _numbers(live: dict[str, Any], has_ended: bool) -> Table:
    seconds = live["stage_seconds"]
    total = sum(seconds.values()) or 1.0
    table = Table.grid(padding=(0, 2))
    table.add_row("time", "  ".join(f"{stage} {value / total:.0%}" for stage, value in sorted(seconds.items(), key=lambda item: -item[1])))
    table.add_row("rates", "  ".join(f"{live['counts'].get(name, 0) / total:.2f} {name}/s" for name in ("pairs", "images", "tokens")))
    if not has_ended:
        table.add_row("slots", "  ".join(f"{count} {state}" for state, count in live["slots"].items()))
    table.add_row("products", "  ".join(f"{count} {outcome}" for outcome, count in live["products"].items()))
    table.add_row("staleness", "  ".join(f"{count} pairs {behind} behind" for behind, count in live["staleness"].items()) or "-")
    table.add_row("syncs", f"{live['verified']} verified of {live['syncs']}")
    return table


def _rounds(rounds: list[dict[str, object]]) -> Table:
    # Nine columns of numbers within 80 characters: a number that is cut off says nothing.
    table = Table("round", *(_HEADS.get(name, name.replace("_", " ")) for name in _ROUND_COLUMNS), box=box.SIMPLE_HEAD, padding=0)
    for row in rounds:
        cells = [_cell(name, row.get(name)) for name in _ROUND_COLUMNS]
        table.add_row(str(int(str(row["round"])) + 1), *cells)
    return table


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return duration(value) if name == "seconds" else f"{value:.3g}"
    return "" if value is None else str(value)


def _failures(rows: list[dict[str, Any]]) -> Table:
    table = Table("failed product", "round", "kind", "why", title="last failures")
    for row in rows:
        table.add_row(escape(str(row["product_id"])), str(row["round"]), str(row["kind"]), escape(str(row["message"])[:100]))
    return table


def jobs_table(jobs: Sequence[Any]) -> Table:
    """Ray's records of jobs (`JobDetails`), a row each."""
    from actors.submission.job_client import failure_line
    from actors.submission.job_request import RUN_KEY

    table = Table(
        # The id is what `ray job stop` and `ray job logs` ask for.
        Column("job", no_wrap=True, min_width=27),
        "state",
        "minutes",
        Column("run folder", overflow="fold"),
        Column("message", overflow="fold"),
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    for job in jobs:
        end = (job.end_time or time.time() * 1000) / 1000
        minutes = f"{(end - job.start_time / 1000) / 60:.1f}" if job.start_time else ""
        folder = (job.metadata or {}).get(RUN_KEY, "")
        said = failure_line(str(job.message)) if job.message else ""
        table.add_row(
            job.submission_id, str(job.status.value), minutes, escape(folder), escape(shorten(said, _MOST_WORDS, placeholder=" ..."))
        )
    return table
