"""From a command to a run: connects to Ray, shows the loop's progress, stops it cleanly on a signal, writes the report."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection

from rich.console import Console
from rich.markup import escape

from actors.cluster.capacity import refuse_what_the_cluster_lacks
from actors.cluster.connect import approach, ray_cluster
from actors.launch.run_facts import known_facts
from actors.launch.sigterm import SIGTERM_STOP
from actors.loop.online_loop import Beside
from actors.loop.preflight import preflight
from actors.loop.run import run
from actors.loop.stop_request import StopRequest
from actors.telemetry.terminal_progress import TerminalProgress
from caig_rl.config.schema import Config
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.reports.run_report import write_report
from caig_rl.reports.run_report_text import headline, warnings
from caig_rl.runs.driver_lock import held
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary, read_summary


def run_online(
    config: Config,
    source: ProductSource,
    evaluation: ProductSource,
    judge: Judge | None,
    *,
    resume: bool,
    console: Console,
    beside: Beside | None = None,
    asked: Collection[str] = (),
) -> RunSummary:
    """Run the loop to its end, or to a clean stop on SIGTERM or SIGINT; write the report and say what was written.

    `beside` runs beside the loop and is cancelled with it. `asked`: keys that may change with a resume. A resumed run that is done is left
    as it is.

    Raises:
        UserError: see `actors.loop.run.run`.
    """
    folder = RunFolder(config.run.root, config.run.name)
    stop = StopRequest()
    SIGTERM_STOP.grace_s = config.run.stop_grace_s
    SIGTERM_STOP.begin()
    found = preflight(config, source, folder, resume=resume, asked=asked)
    with SIGTERM_STOP.breaking_off(), held(folder):
        if found is not None and found.is_done:
            return _already_done(folder, found.to_go_on, console)
        with TerminalProgress(console) as progress:
            progress.phase(approach(config.cluster), 0)
            with ray_cluster(config.cluster):
                refuse_what_the_cluster_lacks(config)
                loop = _run_shown(config, source, evaluation, judge, folder, resume, progress, stop, beside, asked)
                summary = asyncio.run(loop)
        # A resumed run that was stopped while it started may have said nothing yet, in no life.
        report = write_report(folder) if folder.exists("summary.json") else None
    head = headline(summary)
    console.print(f"\n[bold]{head.claim}[/] {head.certainty}\n{head.detail}", highlight=False, soft_wrap=True)
    for warning in warnings(summary):
        console.print(f"[yellow]{escape(warning)}[/]", highlight=False, soft_wrap=True)
    for name in ("summary.json", "metrics.jsonl", "ledger.parquet", "samples"):
        if folder.exists(name):
            console.print(f"  {folder.path(name)}", highlight=False, soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return summary


def _already_done(folder: RunFolder, to_go_on: str, console: Console) -> RunSummary:
    summary = read_summary(folder)
    # A driver may have been killed between its last word and its report.
    report = folder.path("report.html") if folder.exists("report.html") else write_report(folder)
    console.print(f"already done: {summary.rounds} round(s); {to_go_on}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return summary


async def _run_shown(
    config: Config,
    source: ProductSource,
    evaluation: ProductSource,
    judge: Judge | None,
    folder: RunFolder,
    resume: bool,
    progress: TerminalProgress,
    stop: StopRequest,
    beside: Beside | None,
    asked: Collection[str],
) -> RunSummary:
    loop = asyncio.get_running_loop()
    with SIGTERM_STOP.handed_to(lambda number: loop.call_soon_threadsafe(_ask, stop, progress, number)):
        return await run(
            config,
            source,
            evaluation,
            judge,
            folder,
            resume,
            facts=known_facts(config, source, evaluation, judge),
            progress=progress,
            stop=stop,
            beside=beside,
            asked=asked,
        )


def _ask(stop: StopRequest, progress: TerminalProgress, number: int) -> None:
    progress.note(stop.ask(number))
    if stop.now and number == signal.SIGINT:
        # A person who cannot wait for that either gets what Ctrl-C does by default; a job controller may well repeat its SIGTERM.
        signal.signal(signal.SIGINT, signal.default_int_handler)
