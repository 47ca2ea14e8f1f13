"""`caig-rl evaluate policy`: a finished run's two policies, measured again."""

from __future__ import annotations

import asyncio

import ray
from rich.console import Console

from actors.checkpoints.compatibility import weights_fingerprint
from actors.checkpoints.store import CheckpointStore
from actors.cluster.connect import approach, ray_cluster
from actors.evaluation.held_out import Evaluation
from actors.launch.measuring import measuring_workers
from actors.telemetry.terminal_progress import TerminalProgress
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.evaluation.category_comparison import compare_by_category
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.evaluation.policy_evaluation import PolicyComparison, compare_on_shared_products, mean_ceiling
from caig_rl.evaluation.segment_comparison import compare_by_segment
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.reports.policy_text import categories_line, prompt_rows, segment_rows
from caig_rl.reports.run_report import write_report
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import REJECTED, read_rows
from caig_rl.runs.measured_again import EVALUATION_FILE, MeasuredAgain
from caig_rl.segments import segment_shares
from caig_rl.types import PolicyVersion


def evaluate_run(config: Config, folder: RunFolder, evaluation: ProductSource, judge: Judge, *, console: Console) -> PolicyComparison:
    """Measure initial and final policy of a finished run on `evaluation`'s products, and write `evaluation.json` to its folder.

    Raises:
        CheckpointError: the run has no complete checkpoint.
    """
    with TerminalProgress(console) as progress:
        progress.phase(approach(config.cluster), 0)
        with ray_cluster(config.cluster):
            rounds, before, after, ceilings = asyncio.run(_measure_both(config, folder, evaluation, judge, progress))
    ends, drawn = (before.evaluated, after.evaluated), (config.evaluation.bootstrap, config.run.seed)
    comparison = compare_on_shared_products(*ends, *drawn)
    ceiling = mean_ceiling(ceilings, set(before.evaluated.product_ids) & set(after.evaluated.product_ids))
    ctr, relevance = comparison.ctr_summary(ceiling), comparison.relevance_summary()
    assert ctr is not None and relevance is not None, "a judge measured both policies"
    again = MeasuredAgain(
        rounds=rounds,
        products=comparison.num_products,
        prompts_per_product=config.evaluation.prompts_per_product,
        products_held_out=num_never_admitted(folder, evaluation),
        ctr=ctr,
        relevance=relevance,
        prompts=comparison.prompts_summary(),
        categories=compare_by_category(*ends, ceilings, *drawn),
        segments=compare_by_segment(*ends, *drawn),
        initial=before.to_json(),
        final=after.to_json(),
    )
    path = folder.write_text(EVALUATION_FILE, again.model_dump_json(indent=1) + "\n")
    _print_comparison(again, console)
    for written in (path, write_report(folder)):
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    return comparison


def num_never_admitted(folder: RunFolder, evaluation: ProductSource) -> int | None:
    """Products of `evaluation`, if the run's ledger names none of them; else 0. None where there is no ledger yet."""
    admitted = {row["product_id"] for row in read_rows(folder).to_pylist() if row["outcome"] != REJECTED}
    if not admitted:
        return None
    return 0 if any(product.product_id in admitted for product in evaluation.products) else len(evaluation.products)


async def _measure_both(
    config: Config, folder: RunFolder, source: ProductSource, judge: Judge, progress: TerminalProgress
) -> tuple[int, MeasuredPolicy, MeasuredPolicy, dict[str, float]]:
    """Rounds done by the final policy, the initial one, the final one, and the best CTR of each product."""
    state = CheckpointStore(folder, config.learner.keep_checkpoints).of_result(weights_fingerprint(config), progress.note)
    if state is None:
        raise CheckpointError(f"no complete checkpoint in {folder.path('checkpoints')}: go on with the run by train --resume first.")
    source_ref, judge_ref = ray.put(source), ray.put(judge)
    pictures, segments = RunFolder(str(folder.url), EVALUATION_FILE.split(".")[0]), segment_shares(config, judge)
    measure = Evaluation(config, list(source.products), source_ref, judge_ref, pictures, segments=segments)
    async with measuring_workers(config, progress, judge_ref) as workers:
        await workers.show(PolicyVersion(0, 0))
        progress.phase("measuring the initial policy", len(measure.products))
        before = await measure.measure(workers.pipeline, "before")
        ceilings = await measure.ceilings(workers.pipeline)
        await workers.show(state.version, folder.checkpoint_path(state.rounds_done))
        progress.phase("measuring the final policy", len(measure.products))
        return state.rounds_done, before, await measure.measure(workers.pipeline, "after"), ceilings


def _print_comparison(again: MeasuredAgain, console: Console) -> None:
    ctr, relevance = again.ctr, again.relevance
    low, high = ctr.ci95 or (float("nan"), float("nan"))
    seen = {None: "", 0: ", which training has seen"}.get(again.products_held_out, ", never trained on")
    console.print(
        f"{again.products} products{seen}, {again.prompts_per_product} prompts each\n"
        f"true CTR   {ctr.initial:.3%} -> {ctr.final:.3%}   lift {ctr.lift:+.1%}   95 % interval {low:+.1%} to {high:+.1%}"
        + ("" if ctr.ceiling is None else f"   ceiling {ctr.ceiling:.3%}")
        + f"\nrelevance  {relevance.initial:.3f} -> {relevance.final:.3f}",
        highlight=False,
    )
    if again.categories is not None:
        console.print(categories_line(again.categories), highlight=False, soft_wrap=True)
    for row in segment_rows(again.segments):
        console.print(f"{row.name} ({row.share} of shoppers): true CTR {row.initial} -> {row.final}, {row.lift}", highlight=False)
    for name, initial, final in prompt_rows(again.prompts):
        console.print(f"{name.lower()}  {initial} -> {final}", highlight=False)
