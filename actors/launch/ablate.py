"""`caig-rl ablate`: the cells of an ablation, one after another, over one connection to one Ray cluster.

cell whose reward is the ablation's own    that model is made first, once for all cells that name it (`reward_making`)
cell of a training arm     its seed's initial policy (measured once) -> the online loop's own run, resumed where it stands -> record
cell of a best-of-N arm    that measurement, or one of the trained policy that it names -> the best by reward of each N -> record
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rich.console import Console

from actors.checkpoints.compatibility import weights_fingerprint
from actors.checkpoints.store import CheckpointStore
from actors.cluster.capacity import refuse_what_the_cluster_lacks
from actors.cluster.connect import approach, ray_cluster
from actors.cluster.task_errors import cancelled
from actors.evaluation.baseline import Baseline
from actors.launch.policy_measurement import PolicyMeasurement, Weights, measure_once
from actors.launch.reward_making import make_once
from actors.launch.run_facts import known_facts
from actors.launch.sigterm import SIGTERM_STOP
from actors.loop.preflight import preflight
from actors.loop.run import run
from actors.loop.stop_request import StopRequest
from actors.telemetry.progress import Progress
from actors.telemetry.terminal_progress import TerminalProgress
from caig_rl.ablation.best_of_n import best_of_n, first_pick, pick_rates
from caig_rl.ablation.cells import Cell, Plan, measured_key
from caig_rl.ablation.gallery import copy_pictures, entries_of
from caig_rl.ablation.records import CellRecord, Measured, facts_of_run, make_record
from caig_rl.ablation.rewards import MakeReward
from caig_rl.ablation.sequence import Ended, prepared_folder, run_cells
from caig_rl.config.load import config_yaml
from caig_rl.config.schema import Config
from caig_rl.errors import CheckpointError
from caig_rl.evaluation.measured_policy import MeasuredPolicy, candidate_picture, read_measured
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.reports.run_report import write_report
from caig_rl.runs.driver_lock import held
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GallerySide, read_gallery, write_gallery
from caig_rl.runs.summary import read_summary
from caig_rl.types import PolicyVersion

T = TypeVar("T")
Sources = Callable[[Config], tuple[ProductSource, ProductSource, Judge | None]]
MEASURED = "measured"
"""Folder of the measurements that cells share."""


def ablate(plan: Plan, sources: Sources, make_reward: MakeReward, console: Console) -> Ended:
    """Run what is not finished of `plan`, or stop cleanly on SIGTERM or SIGINT; results are written after each cell.

    Args:
        plan: the cells.
        sources: training products, evaluation products and judge that a configuration names.
        make_reward: makes a reward model of the ablation's own.
        console: who watches.

    Raises:
        UserError: the folder has another driver, no cluster, one that is too small, or a cell finished with other settings.
    """
    stop, first = StopRequest(), plan.cells[0].config
    SIGTERM_STOP.grace_s = first.run.stop_grace_s
    SIGTERM_STOP.begin()
    folder = prepared_folder(plan)
    with SIGTERM_STOP.breaking_off(), held(folder), TerminalProgress(console) as progress:
        progress.phase(approach(first.cluster), 0)
        with ray_cluster(first.cluster):
            for cell in {cell.arm.name: cell for cell in plan.cells}.values():
                refuse_what_the_cluster_lacks(cell.config)
            return asyncio.run(_watched(plan, RayCells(plan, sources, make_reward, progress, stop), progress, stop))


async def _watched(plan: Plan, cells: RayCells, progress: TerminalProgress, stop: StopRequest) -> Ended:
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        progress.note(stop.ask(number))

    with SIGTERM_STOP.handed_to(lambda number: loop.call_soon_threadsafe(ask, number)):
        return await run_cells(plan, cells, progress.note)


class RayCells:
    """Runs cells on the connected cluster."""

    def __init__(self, plan: Plan, sources: Sources, make_reward: MakeReward, progress: Progress, stop: StopRequest) -> None:
        """`stop`: ends the cell under way with a checkpoint, and begins no other."""
        self._plan, self._sources, self._make_reward, self._progress, self._stop = plan, sources, make_reward, progress, stop

    async def run_cell(self, cell: Cell) -> CellRecord | None:
        """The record; None where `stop` asked for an end. Raises UserError where the cell cannot be finished."""
        if self._stop.after_round:
            return None
        if cell.reward is not None and not await make_once(cell.reward, self._make_reward, self._progress, self._stop):
            return None
        return await (self._train(cell) if cell.arm.kind == "train" else self._pick(cell))

    async def _train(self, cell: Cell) -> CellRecord | None:
        initial = await self._or_stopped(self._initial(cell))
        if initial is None:
            return None
        config, folder = cell.config, self._plan.cell_folder(cell.name)
        source, held_out, judge = self._sources(config)
        resume = folder.has_begun
        found = preflight(config, source, folder, resume=resume)
        if found is None or not found.is_done:
            before = initial.policy.first(config.evaluation.prompts_per_product)
            summary = await run(
                config,
                source,
                held_out,
                judge,
                folder,
                resume,
                facts=known_facts(config, source, held_out, judge),
                progress=self._progress,
                stop=self._stop,
                baseline=Baseline(before, initial.ceilings),
            )
            if summary.status == "stopped":
                return None
        copy_pictures(initial.folder, folder, [entry.before.image for entry in read_gallery(folder)])
        write_report(folder)
        one, other = read_measured(folder)
        measured = Measured(one.evaluated, other.evaluated, initial.ceilings)
        return make_record(cell, measured, read_summary(folder).time.total_s, **facts_of_run(folder))

    async def _pick(self, cell: Cell) -> CellRecord | None:
        initial = await self._or_stopped(self._initial(cell))
        picked = initial if cell.source is None else await self._or_stopped(self._trained(cell, cell.source))
        if initial is None or picked is None:
            return None
        assert cell.arm.n is not None, "the arm was checked as it was read"
        folder = self._plan.cell_folder(cell.name)
        folder.write_text("config.yaml", config_yaml(cell.config))
        self._write_gallery(cell, folder, initial, picked)
        after = best_of_n(picked.policy.evaluated, cell.arm.n)
        share = cell.arm.n / len(picked.policy.evaluated.prompts[0])
        rates = pick_rates(picked.policy.evaluated, cell.arm.n)
        return make_record(cell, Measured(initial.policy.evaluated, after, initial.ceilings), picked.seconds * share, **rates)

    async def _initial(self, cell: Cell) -> PolicyMeasurement:
        """Of the seed's initial policy, shared by all cells whose settings make it the same."""
        name = f"initial-seed{cell.seed}-{measured_key(cell.measured_by)}"
        return await self._measured(cell.measured_by, name, self._plan.initial_prompts(cell), Weights(PolicyVersion(0, 0), None))

    async def _trained(self, cell: Cell, source: str) -> PolicyMeasurement:
        """Of the final policy of the cell `source`."""
        run_folder = self._plan.cell_folder(source)
        store = CheckpointStore(run_folder, cell.config.learner.keep_checkpoints)
        state = store.of_result(weights_fingerprint(cell.config), self._progress.note)
        if state is None:
            raise CheckpointError(f"no complete checkpoint in {run_folder.path('checkpoints')}")
        weights = Weights(state.version, run_folder.checkpoint_path(state.rounds_done))
        return await self._measured(cell.config, source, self._plan.trained_prompts(source), weights)

    async def _measured(self, config: Config, name: str, num_prompts: int, weights: Weights) -> PolicyMeasurement:
        _, held_out, judge = self._sources(config)
        assert judge is not None, "the plan was refused without a judge"
        folder = RunFolder(self._plan.folder.path(MEASURED), name)
        return await measure_once(config, folder, num_prompts, weights, (held_out, judge), self._progress)

    async def _or_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` comes to; None where the stop came first, and the work is broken off."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait_for_now())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            await cancelled(task)
            return None
        finally:
            stop.cancel()

    def _write_gallery(self, cell: Cell, folder: RunFolder, initial: PolicyMeasurement, picked: PolicyMeasurement) -> None:
        """The first candidate of the initial policy, beside the one picked from the first N."""
        assert cell.arm.n is not None
        after = _picked_sides(picked.policy, cell.arm.n)
        copy_pictures(picked.folder, folder, [side.image for side in after.values()])
        before = {name: side.model_copy(update={"image": f"initial-{side.image}"}) for name, side in initial.policy.gallery.items()}
        for side in initial.policy.gallery.values():
            folder.write_bytes(f"samples/initial-{side.image}", initial.folder.read_bytes(f"samples/{side.image}"))
        _, held_out, _ = self._sources(cell.config)
        titles = {product.product_id: (product.title, product.category) for product in held_out.products}
        write_gallery(folder, entries_of(before, after, titles))


def _picked_sides(policy: MeasuredPolicy, n: int) -> dict[str, GallerySide]:
    evaluated = policy.evaluated
    assert evaluated.ctrs is not None and evaluated.relevances is not None
    sides = {}
    for row, (name, pick) in enumerate(zip(evaluated.product_ids, first_pick(evaluated, n), strict=True)):
        if name in policy.gallery:
            sides[name] = GallerySide(
                image=candidate_picture(policy.gallery[name].image, pick),
                prompt=evaluated.prompts[row][pick],
                ctr=float(evaluated.ctrs[row, pick]),
                relevance=float(evaluated.relevances[row, pick]),
                score=float(evaluated.scores[row, pick]),
            )
    return sides
