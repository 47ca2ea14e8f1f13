"""The online loop: one controller, in this process, that moves references between pools and the learner.

    catalog ─> policy pool (vLLM) ─> renderer pool (diffusers) ─> scorer pool (RM) ─> preference buffer ─> learner group (DeepSpeed)
                   ^   K prompts a product     K creatives             scores, pair          here                    |  PCPO steps
                    └────────────────────── published weights, version v+1, pulled and verified <─────────────────────┘

    what waits            for                                                      unblocked by
    --------------------  -------------------------------------------------------  ------------------------------------------------
    `_admit_rounds`       a round's worth of free slots, and the round to be at    `_learn_rounds`, when new weights are live
                          most `max_staleness` ahead of the rounds done;          or `_learn_rounds`, where the guard ends the run
                          or to be one that the run does not come to
    `_roll_out` (shard)   an idle worker of each stage in turn                     the pools: a call ended, or a dead worker was replaced
    `_learn_rounds`       the round admitted, and none of it in flight             `_admit_rounds`; `_roll_out`, by a pair or a drop
    `_learn_rounds`       before a sync: the prompts of every round that is to     `_roll_out`, once its policy stage is through
                          be written by the weights now live
    `go_live`             each policy worker's current call, then its verified     the policy pool
                          sync
    a policy worker       a publication that can be pulled, where the live one     `LearnerControl.while_waiting`, which re-forms the
                          went away with the learner's node                        learner group

The loop prints nothing and touches no pixels. With `max_staleness` s, round r is written by the weights that r - s rounds of learning made,
whatever the timing; only a shard that is issued again after its prompts were written may be written by fresher ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ray.exceptions import RayError

from actors.checkpoints.store import SavedState
from actors.cluster.resource_wait import wait_with_notes
from actors.cluster.task_errors import cancelled, first_fault, one_line
from actors.loop.guard_watch import ENDED
from actors.loop.loop_parts import LoopInputs, build_parts
from actors.loop.loop_snapshot import observe
from actors.loop.run_beginning import record_beginning
from actors.loop.stop_request import StopRequest
from actors.rollout.poison_isolation import roll_out_or_isolate
from actors.rollout.rolled_out import POISON, RolledOut
from actors.rollout.shard import Shard
from actors.rollout.short_tasks import check_prompts, judge_creatives
from actors.telemetry.progress import Progress
from actors.telemetry.round_totals import RoundTotals
from actors.telemetry.snapshot import Snapshot
from actors.telemetry.summary_builder import round_detail
from caig_rl.config.schema import TASK_CPUS, Config
from caig_rl.errors import UserError
from caig_rl.evaluation.measured_policy import MeasuredPolicy, write_measured
from caig_rl.evaluation.policy_kl import answer_kls
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.logs import about
from caig_rl.runs.config_history import write_run_config
from caig_rl.runs.driver_lock import LeaseLost
from caig_rl.runs.events import DRIVER
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import write_gallery
from caig_rl.runs.result import ResultSummary
from caig_rl.runs.status import last_written_s
from caig_rl.runs.summary import RunSummary, write_summary
from caig_rl.types import PolicyVersion

logger = logging.getLogger(__name__)


Beside = Callable[["OnlineLoop"], Coroutine[Any, Any, None]]


class OnlineLoop:
    """The controller of one run."""

    def __init__(self, config: Config, inputs: LoopInputs, folder: RunFolder, progress: Progress, stop: StopRequest) -> None:
        self._config, self._folder, self._progress, self._stop = config, folder, progress, stop
        self._last_seen_s = last_written_s(folder)
        parts = build_parts(config, inputs, folder, progress)
        self._source, self._judge, self._events, self._evaluation = parts.source, parts.judge, parts.events, parts.evaluation
        self.run_state, self.pipeline, self.fleet, self.store = parts.run_state, parts.pipeline, parts.fleet, parts.store
        self.learner_control, self.totals, self._checkpoints = parts.learner_control, parts.totals, parts.checkpoints
        self.meters, self._history, self._baseline = parts.meters, parts.history, parts.baseline
        self._fingerprint, self._guard, self._eval_source = parts.fingerprint, parts.guard, parts.eval_source
        self.note = progress.note
        self.rounds_begun = asyncio.Event()
        """Set once all workers are up and the first round of this life begins."""
        self._changed = asyncio.Condition()
        self._judging: dict[int, list[asyncio.Task[None]]] = {}
        self._begun = False

    async def run(self, resume: bool, beside: Beside | None = None) -> RunSummary:
        """The whole run. Whatever ends it early, the folder says so."""
        # Until its checkpoint is read, a resumed run has nothing to say that its folder does not say better.
        self._begun = not resume
        work, stop = asyncio.create_task(self._work(resume)), asyncio.create_task(self._stop.wait_for_now())
        helpers = [asyncio.create_task(self.fleet.look_after())]
        if self._folder.lock is not None:
            helpers.append(asyncio.create_task(self._folder.lock.until_lost()))
        if beside is not None:
            helpers.append(asyncio.create_task(beside(self)))
        try:
            await asyncio.wait({work, stop, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            await cancelled(work)
            for helper in helpers:
                if helper.done():
                    helper.result()
            await self._checkpoints.round_under_way(is_measured=self._baseline.is_measured)
            return self._finish("stopped")
        except LeaseLost:
            await cancelled(work)
            raise
        except BaseException as failure:
            await cancelled(work)
            self._finish("failed", failure=one_line(failure))
            raise
        finally:
            for task in (stop, *helpers):
                task.cancel()

    def observe(self) -> Snapshot:
        """The loop at this moment, for the metrics."""
        run_state, meters, learner = self.run_state, self.meters, self.learner_control.group
        return observe(
            rounds_planned=self._config.rollout.rounds,
            rounds_done=run_state.rounds_done,
            version=run_state.version,
            pipeline=self.pipeline,
            ranks=(learner.ready_ranks, learner.world_size),
            buffer=run_state.buffer,
            ledger=run_state.ledger,
            clock=meters.clock,
            throughput=meters.throughput,
            memory=meters.memory,
            details=self._history.details,
            fleet=self.totals.fleet_summary(),
        )

    async def close(self) -> None:
        """Stop all workers; the run folder stays as it is."""
        self.learner_control.group.close()
        await self.pipeline.close()
        self._events.close()
        self._folder.close()

    async def _work(self, resume: bool) -> RunSummary:
        """Start, measure, train, measure again."""
        baseline = self._baseline
        self._progress.phase("starting", 0)
        state = self.store.newest(self._fingerprint, self._progress.note) if resume else None
        # Only now: a resume that does not fit must leave the run's own config as it is.
        rounds_done = 0 if state is None else state.rounds_done
        write_run_config(self._config, self._folder, rounds_done, self._progress.note)
        record_beginning(self._events, self._folder, self._last_seen_s, resume, None if state is None else rounds_done)
        if resume and state is None:
            self._progress.note("begins anew: the run was cut short before its first checkpoint")
        await self._start(state)
        self._begun = True
        if not baseline.is_measured:
            self._progress.phase("measuring the initial policy", len(self._evaluation.products))
            baseline.initial = await self.learner_control.while_waiting(self._evaluation.measure(self.pipeline, "before"))
            baseline.ctr_ceilings = await self._evaluation.ceilings(self.pipeline)
        if state is None:
            await self._checkpoints.checkpoint()
        self._history.rewrite_file()
        write_summary(self._summary("running"), self._folder)
        await self._train_unwrapped()
        if self._is_stopping():
            return self._finish("stopped")
        if self._guard.ended_the_run:
            self.run_state.expire_rest(ENDED)
        result = await self._guard.result()
        after = await self._measure_result(result)
        write_gallery(self._folder, self._evaluation.gallery(baseline.measured(), after))
        write_measured(self._folder, baseline.measured(), after)
        return self._finish("done", after, result=result)

    async def _measure_result(self, result: ResultSummary) -> MeasuredPolicy:
        """The version that the run gives out, on the held-out products, with its KL on what it wrote for them."""
        control = self.learner_control
        self._progress.phase("measuring the final policy", len(self._evaluation.products))
        if result.by == "guard":
            self._progress.note(f"the result is version {result.version}, {result.why}")
            await control.show_result(result.rounds, PolicyVersion.parse(result.version))
        after = await control.while_waiting(self._evaluation.measure(self.pipeline, "after"))
        references = await control.initial_log_probs(after.answers, self._eval_source)
        return after.with_kls(answer_kls(after.answers, references))

    async def _start(self, state: SavedState | None) -> None:
        await asyncio.gather(self.learner_control.start(), *(pool.start() for pool in self.pipeline.pools.values()))
        if state is not None:
            self.run_state.restore(state)
            self.learner_control.restore_prompt_model()
            self.totals.restore(state.extra)
            self._guard.look(state.rounds_done)
        await self.learner_control.show(None if state is None else state.rounds_done)
        if state is not None:
            self._progress.note(f"resumed after round {state.rounds_done} from {self.store.url(state.rounds_done)}")

    async def _train(self) -> None:
        run_state = self.run_state
        self.rounds_begun.set()
        async with asyncio.TaskGroup() as group:
            for number in range(run_state.rounds_done, min(run_state.rounds_admitted, run_state.rounds_planned)):
                self._open_round(number, run_state.shards_in_flight(number), group)
            group.create_task(self._admit_rounds(group))
            await self._learn_rounds()
            # Rounds that the run does not come to may be on their way.
            if self._is_stopping() or self._guard.ended_the_run:
                raise _Stopped

    async def _train_unwrapped(self) -> None:
        try:
            await self._train()
        except BaseExceptionGroup as faults:
            # One fault cancels the rest; the caller must see the first as it was raised, to tell a user's error from ours.
            first = first_fault(faults)
            if not isinstance(first, _Stopped):
                raise first from None
            logger.info("stopped after round %d", self.run_state.rounds_done)

    async def _admit_rounds(self, group: asyncio.TaskGroup) -> None:
        for number in range(self.run_state.rounds_admitted, self._config.rollout.rounds):
            await self._until(partial(self._is_settled, number))
            if self.run_state.is_beyond_the_end(number):
                return
            self._open_round(number, self.run_state.admit_next(), group)
            await self._notify()

    def _is_settled(self, number: int) -> bool:
        """True where round `number` may start, or never will."""
        return self.run_state.is_beyond_the_end(number) or self.run_state.may_admit(number)

    def _open_round(self, number: int, shards: list[Shard], group: asyncio.TaskGroup) -> None:
        self.run_state.open_round(number, shards)
        self._judging[number] = []
        for shard in shards:
            with about(**shard.facts()):  # the task keeps them: each of its lines names its admissions
                group.create_task(self._roll_out(number, shard, group))

    async def _roll_out(self, number: int, shard: Shard, group: asyncio.TaskGroup) -> None:
        intake, totals = self.run_state.intake, self.run_state.intake.totals[number]

        def written() -> None:
            self.run_state.written(number, shard)
            group.create_task(self._notify())

        prompts = self.learner_control.prompts
        rollout = partial(
            self.pipeline.rollout,
            source=self._source,
            candidates=prompts.settings.written,
            written=written,
            screened=prompts.screened if prompts.settings.screens else None,
        )
        found = await roll_out_or_isolate(rollout, shard)
        for part, poisoned in found.failed:
            intake.drop_shard(part, poisoned)
            if poisoned.kind == POISON:
                self._events.record_event(
                    POISON, poisoned.stage, detail=f"{', '.join(one.product_id for one in part.products)}: {poisoned.reason}"
                )
        if found.rolled is not None:
            self.meters.throughput.add(pairs=intake.take_up(found.rolled))
            self._judging[number].append(group.create_task(self._judge_shard(totals, found.rolled)))
        written()

    async def _judge_shard(self, totals: RoundTotals, rolled: RolledOut) -> None:
        """Check prompts, and judge relevance and true CTR of what is being trained on. Only the report reads them."""
        try:
            checks = await check_prompts.remote(self._judge, rolled.shard.products, rolled.written())
            totals.count_checks([check for row in checks for check in row])
            if self._judge is None:
                return
            judged = await judge_creatives.remote(self._judge, rolled.shard.products, [rolled.creatives])
        except RayError as error:  # the pictures went with their node: the report lacks a few numbers, the run lacks nothing
            logger.warning("shard %s is not judged: %s", rolled.shard.name, error)
            return
        totals.judgements += [judgement for row in judged for judgement in row]

    async def _learn_rounds(self) -> None:
        run_state = self.run_state
        for number in range(run_state.rounds_done, self._config.rollout.rounds):
            if run_state.is_beyond_the_end(number):
                return
            started = time.perf_counter()
            self._progress.phase(f"round {number + 1} of {self._config.rollout.rounds}", run_state.round_size)
            await self.learner_control.while_waiting(self._until(partial(run_state.can_learn, number)))
            totals = run_state.intake.totals[number]
            if totals.failed and not totals.pairs and not totals.tied:
                raise UserError(f"round {number + 1}: all {totals.failed} products failed, the first {totals.first_failure}")
            self._guard.look(number + 1)
            metrics = await self.learner_control.learn(number, partial(self._prompts_written, number + self._config.rollout.max_staleness))
            run_state.weights_live(number)
            self.learner_control.has_moved = False
            await self._notify()
            await self._close_round(number, metrics, time.perf_counter() - started)
            if self._is_stopping():
                return

    async def _prompts_written(self, last: int) -> None:
        """Rounds up to `last` are to be written by the weights now live, before others take their place."""
        await self._until(partial(self.run_state.prompts_written, last))

    async def _close_round(self, number: int, metrics: RoundMetrics | None, seconds: float) -> None:
        try:
            judged = asyncio.gather(*self._judging.pop(number))
            what = f"the judges of round {number + 1}, whose tasks need {TASK_CPUS:g} CPU each"
            await wait_with_notes(judged, what, self._config.cluster.wait_note_s, self._progress.note)
        finally:  # told to stop now, the round has its row all the same
            self._write_round(number, metrics, seconds)
        done, planned = self.run_state.rounds_done, self.run_state.rounds_planned
        # With a guard any version may be the result.
        is_due = done % self._config.learner.checkpoint_every == 0 or self._guard.is_on
        if is_due or done == planned or self._is_stopping():
            await self._checkpoints.checkpoint()
        write_summary(self._summary("running"), self._folder)

    def _write_round(self, number: int, metrics: RoundMetrics | None, seconds: float) -> None:
        totals, prompt_model = self.run_state.close_round(number), self.learner_control.prompts.metrics()
        guard_score = self._guard.score_of(number)
        detail = round_detail(number, totals, metrics, self.run_state.version, seconds, prompt_model, guard_score)
        self._history.add(detail)
        self._folder.write_ledger(self.run_state.ledger.to_table())
        self._progress.round_ended(detail)

    def _is_stopping(self) -> bool:
        return self._stop.after_round and self.run_state.rounds_done < self.run_state.rounds_planned

    def _finish(
        self, status: str, after: MeasuredPolicy | None = None, failure: str | None = None, result: ResultSummary | None = None
    ) -> RunSummary:
        self.meters.memory.sample()
        if self._begun:
            self._events.record_event("ended", DRIVER, status, failure or "")
        summary = self._summary(status, after, failure, result)
        if self._begun:
            write_summary(summary, self._folder)
            self._folder.write_ledger(self.run_state.ledger.to_table())
        return summary

    def _summary(
        self, status: str, after: MeasuredPolicy | None = None, failure: str | None = None, result: ResultSummary | None = None
    ) -> RunSummary:
        live = self.learner_control.live
        sha256 = None if live is None else live.sha256
        return self.totals.summary(status, self.run_state, sha256, after, failure, result, self._guard.summary())

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Stopped(Exception):
    """The user asked to stop at the end of the round, or the guard ended the run; a checkpoint is written."""
