"""Runs the online loop in a run folder: its lock, its log and trackers, its meters and metrics are around it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from actors.evaluation.baseline import Baseline
from actors.loop.loop_parts import LoopInputs
from actors.loop.loop_snapshot import publish_loop
from actors.loop.online_loop import Beside, OnlineLoop
from actors.loop.preflight import preflight
from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Progress, Silent
from actors.telemetry.run_reporting import ReportingProgress, run_reporting
from actors.telemetry.snapshot_publisher import end_publishing
from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.schema import Config
from caig_rl.data.catalog_split import split_words
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.runs.driver_lock import held
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary


async def run(
    config: Config,
    source: ProductSource,
    eval_source: ProductSource,
    judge: Judge | None,
    run_folder: RunFolder,
    resume: bool = False,
    *,
    facts: RunFacts | None = None,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    beside: Beside | None = None,
    asked: Collection[str] = (),
    baseline: Baseline | None = None,
) -> RunSummary:
    """Optimise the policy online and write the run folder. Ray must be connected (`actors.cluster.connect`).

    Args:
        config: the resolved configuration.
        source: products to train on.
        eval_source: products to measure initial and final policy on.
        judge: the traffic that says how often creatives are really clicked; None: `ctr` is null.
        run_folder: where everything is written.
        resume: go on from the newest complete checkpoint; from the start, where the run was cut short before its first.
        facts: what only the caller knows, for the summary.
        progress: the progress display.
        stop: how soon to stop, if it asks for it: a checkpoint is written, and the status is "stopped".
        beside: runs beside the loop and is cancelled with it (fault injection).
        asked: keys that may change with a resume (`caig_rl.config.changes`).
        baseline: the initial policy's measurement, where it was measured before with these settings; None: it is measured first.

    Raises:
        UserError: nothing to train on, another driver, a model folder, checkpoint or setting that does not fit, or a round in which every
            product failed.
        PoolError, SyncError, EvaluationError: no workers, weights that did not verify, a policy that cannot be measured.

    A run that fails leaves its summary at "failed", with the reason.
    """
    preflight(config, source, run_folder, resume=resume, asked=asked)
    known = facts or RunFacts(simulated=judge is not None and judge.simulated)
    with held(run_folder), run_reporting(config, run_folder, progress or Silent()) as reporting:
        reporting.note(split_words(source, eval_source))
        inputs = LoopInputs(source, eval_source, judge, known, baseline or Baseline())
        loop = OnlineLoop(config, inputs, run_folder, reporting, stop or StopRequest())
        return await _run_with_meters(config, loop, resume, beside, run_folder, reporting)


async def _run_with_meters(
    config: Config, loop: OnlineLoop, resume: bool, beside: Beside | None, folder: RunFolder, reporting: ReportingProgress
) -> RunSummary:
    memory = asyncio.create_task(loop.meters.memory.sample_forever())
    metrics = asyncio.create_task(publish_loop(config, loop.observe, folder, reporting))
    try:
        summary = await loop.run(resume, beside)
        reporting.ended(summary)
        return summary
    finally:
        memory.cancel()
        await end_publishing(metrics)
        await loop.close()
