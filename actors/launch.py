"""From a command to a run: connects to Ray, watches the loop, stops it cleanly on a signal, writes the report."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Collection

import ray
from rich.console import Console
from rich.markup import escape

from actors.beforehand import refuse_before_ray
from actors.capacity import refuse_what_the_cluster_lacks
from actors.checkpoint import CheckpointStore
from actors.cluster import approach, ray_cluster
from actors.early_stop import STOPS
from actors.evaluation import Evaluation, MeasuredPolicy
from actors.fingerprint import weights_fingerprint
from actors.learner import LearnerGroup
from actors.online import Beside, run
from actors.pipeline import RolloutPipeline
from actors.reporting import KnownFacts, mean_ceiling
from actors.stopping import StopRequest
from actors.telemetry import StageClock, Throughput
from actors.watch import RichProgress
from caig_rl.config.schema import Config
from caig_rl.config.section import NANO
from caig_rl.errors import CheckpointError
from caig_rl.evaluation.measured_again import EVALUATION_FILE, MeasuredAgain
from caig_rl.evaluation.policy_evaluation import PolicyComparison, compare_on_shared_products
from caig_rl.evaluation.report import write_report
from caig_rl.evaluation.report_text import headline, warnings
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.evaluation.run_lock import held
from caig_rl.evaluation.summary import RunSummary, read_summary
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.models.folders import resolve_model_folder
from caig_rl.types import PolicyVersion


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
        UserError: see `actors.online.run`.
    """
    folder = RunFolder(config.run.root, config.run.name)
    stop = StopRequest()
    STOPS.grace_s = config.run.stop_grace_s
    STOPS.begin()
    found = refuse_before_ray(config, source, folder, resume=resume, asked=asked)
    with STOPS.breaking_off(), held(folder):
        if found is not None and found.is_done:
            return _already_done(folder, console)
        with RichProgress(console) as progress:
            progress.phase(approach(config.cluster), 0)
            with ray_cluster(config.cluster):
                refuse_what_the_cluster_lacks(config)
                loop = _run_watched(config, source, evaluation, judge, folder, resume, progress, stop, beside, asked)
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


def _already_done(folder: RunFolder, console: Console) -> RunSummary:
    summary = read_summary(folder)
    # A driver may have been killed between its last word and its report.
    report = folder.path("report.html") if folder.exists("report.html") else write_report(folder)
    console.print(f"already done: {summary.rounds} round(s). To train further, raise rollout.rounds.", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return summary


async def _run_watched(
    config: Config,
    source: ProductSource,
    evaluation: ProductSource,
    judge: Judge | None,
    folder: RunFolder,
    resume: bool,
    progress: RichProgress,
    stop: StopRequest,
    beside: Beside | None,
    asked: Collection[str],
) -> RunSummary:
    loop = asyncio.get_running_loop()
    with STOPS.handed_to(lambda number: loop.call_soon_threadsafe(_ask, stop, progress, number)):
        return await run(
            config,
            source,
            evaluation,
            judge,
            folder,
            resume,
            facts=known_facts(config, judge),
            progress=progress,
            stop=stop,
            beside=beside,
            asked=asked,
        )


def _ask(stop: StopRequest, progress: RichProgress, number: int) -> None:
    progress.note(stop.ask(number))
    if stop.now and number == signal.SIGINT:
        # A person who cannot wait for that either gets what Ctrl-C does by default; a job controller may well repeat its SIGTERM.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def known_facts(config: Config, judge: Judge | None) -> KnownFacts:
    """What the config and the reward model's own folder say beforehand."""
    accuracy = ceiling = None
    # Its own folder speaks for the population the reward model was trained on; on another, the run measures it itself.
    if config.reward.kind == "model" and config.catalog.path is None and (config.reward.model != NANO or config.world.seed == 0):
        metrics = resolve_model_folder(config.reward.model, "reward") / "metrics.json"
        if metrics.is_file():
            content = json.loads(metrics.read_text(encoding="utf-8"))
            accuracy, ceiling = content.get("heldout_accuracy"), content.get("ceiling")
    own = config.catalog.path
    return KnownFacts(
        catalog=own or "products of the click world",
        held_out=own is None,
        simulated=judge is not None and judge.simulated,
        reward_accuracy=accuracy,
        reward_ceiling=ceiling,
    )


def evaluate_run(config: Config, folder: RunFolder, evaluation: ProductSource, judge: Judge, *, console: Console) -> PolicyComparison:
    """Measure initial and final policy of a finished run on `evaluation`'s products, and write `evaluation.json` to its folder.

    Raises:
        CheckpointError: the run has no complete checkpoint.
    """
    with RichProgress(console) as progress:
        progress.phase(approach(config.cluster), 0)
        with ray_cluster(config.cluster):
            rounds, before, after, ceilings = asyncio.run(_measure_both(config, folder, evaluation, judge, progress))
    comparison = compare_on_shared_products(before.evaluated, after.evaluated, config.evaluation.bootstrap, config.run.seed)
    ceiling = mean_ceiling(ceilings, set(before.evaluated.product_ids) & set(after.evaluated.product_ids))
    ctr, relevance = comparison.ctr_summary(ceiling), comparison.relevance_summary()
    assert ctr is not None and relevance is not None, "a judge measured both policies"
    again = MeasuredAgain(
        rounds=rounds,
        products=comparison.num_products,
        prompts_per_product=config.evaluation.prompts_per_product,
        ctr=ctr,
        relevance=relevance,
        initial=before.to_json(),
        final=after.to_json(),
    )
    path = folder.write_text(EVALUATION_FILE, again.model_dump_json(indent=1) + "\n")
    _print_comparison(again, console)
    for written in (path, write_report(folder)):
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return comparison


async def _measure_both(
    config: Config, folder: RunFolder, source: ProductSource, judge: Judge, progress: RichProgress
) -> tuple[int, MeasuredPolicy, MeasuredPolicy, dict[str, float]]:
    """Rounds done by the final policy, the initial one, the final one, and the best CTR of each product."""
    state = CheckpointStore(folder, config.learner.keep_checkpoints).newest(weights_fingerprint(config), progress.note)
    if state is None:
        raise CheckpointError(f"no complete checkpoint in {folder.path('checkpoints')}: go on with the run by train --resume first.")
    source_ref, judge_ref = ray.put(source), ray.put(judge)
    measure = Evaluation(config, list(source.products), source_ref, judge_ref, RunFolder(str(folder.url), EVALUATION_FILE.split(".")[0]))
    pipeline, learner = RolloutPipeline(config, StageClock(), Throughput(), progress), LearnerGroup(config)
    try:
        progress.phase("starting workers", 0)
        await asyncio.gather(learner.start(1), *(pool.start() for pool in pipeline.pools.values()))
        await pipeline.go_live(await learner.publish(PolicyVersion(0, 0)))
        progress.phase("measuring the initial policy", len(measure.products))
        before = await measure.measure(pipeline, "before")
        ceilings = await measure.ceilings(pipeline)
        await learner.load(folder.checkpoint_path(state.rounds_done))
        await pipeline.go_live(await learner.publish(state.version))
        progress.phase("measuring the final policy", len(measure.products))
        return state.rounds_done, before, await measure.measure(pipeline, "after"), ceilings
    finally:
        learner.close()
        await pipeline.close()


def _print_comparison(again: MeasuredAgain, console: Console) -> None:
    ctr, relevance = again.ctr, again.relevance
    low, high = ctr.ci95 or (float("nan"), float("nan"))
    console.print(
        f"{again.products} products, {again.prompts_per_product} prompts each\n"
        f"true CTR   {ctr.initial:.3%} -> {ctr.final:.3%}   lift {ctr.lift:+.1%}   95 % interval {low:+.1%} to {high:+.1%}"
        + ("" if ctr.ceiling is None else f"   ceiling {ctr.ceiling:.3%}")
        + f"\nrelevance  {relevance.initial:.3f} -> {relevance.final:.3f}",
        highlight=False,
    )
