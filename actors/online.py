"""The online loop: one controller, in this process, that moves references between pools and the learner.

    catalog ─> policy pool (vLLM) ─> renderer pool (diffusers) ─> scorer pool (RM) ─> preference buffer ─> learner group (DeepSpeed)
                   ^   K prompts a product     K creatives             scores, pair          here                    |  PCPO steps
                    └────────────────────── published weights, version v+1, pulled and verified <─────────────────────┘

    what waits            for                                                      unblocked by
    --------------------  -------------------------------------------------------  ------------------------------------------------
    `_admit_rounds`       a round's worth of free slots, and the round to be at    `_learn_rounds`, when new weights are live
                          most `max_staleness` ahead of the rounds done
    `_roll_out` (shard)   an idle worker of each stage in turn                     the pools: a call ended, or a dead worker was replaced
    `_learn_rounds`       the round admitted, and none of it in flight             `_admit_rounds`; `_roll_out`, by a pair or a drop
    `_learn_rounds`       before a sync: the prompts of every round that is to     `_roll_out`, once its policy stage is through
                          be written by the weights now live
    `go_live`             each policy worker's current call, then its verified     the policy pool
                          sync

The loop prints nothing and touches no pixels. With `max_staleness` s, round r is written by the weights that r - s rounds of learning made,
whatever the timing; only a shard that is issued again after its prompts were written may be written by fresher ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil

import ray

from actors.buffer import PreferenceBuffer, num_slots
from actors.checkpoint import CheckpointStore, RunState
from actors.evaluation import Evaluation, MeasuredPolicy
from actors.intake import Intake
from actors.journal import PairJournal, pairs_to_table
from actors.learner import LearnerGroup
from actors.metrics import Snapshot, cancelled
from actors.observation import observe, watch_loop
from actors.pairing import official_negatives
from actors.pipeline import RolledOut, RolloutPipeline, ShardPoisoned
from actors.progress import Progress, Silent
from actors.reporting import KnownFacts, RoundNotes, RunNumbers, build_summary, round_detail
from actors.shards import ProductCursor, Shard, admit_round, regroup
from actors.tasks import judge_creatives, load_products
from actors.telemetry import MemoryWatch, StageClock, Throughput
from actors.weights import PublishedWeights, verify_publication
from caig_rl.config import config_yaml
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.gallery import write_gallery
from caig_rl.evaluation.ledger import Ledger
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.evaluation.summary import RoundDetail, RunSummary, SyncSummary, write_summary
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.learning.preference import RoundMetrics
from caig_rl.models.folders import resolve_model_folder
from caig_rl.types import Admission, PolicyVersion, PreferencePair

logger = logging.getLogger(__name__)


async def run(
    config: Config,
    source: ProductSource,
    eval_source: ProductSource,
    judge: Judge | None,
    run_folder: RunFolder,
    resume: bool = False,
    *,
    facts: KnownFacts | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunSummary:
    """Optimise the policy online and write the run folder. Ray must be connected (`actors.cluster`).

    Args:
        config: the resolved configuration.
        source: products to train on.
        eval_source: products to measure initial and final policy on.
        judge: the traffic that says how often creatives are really clicked; None: `ctr` is null.
        run_folder: where everything is written.
        resume: go on from the newest complete checkpoint.
        facts: what only the caller knows, for the summary.
        progress: who watches.
        should_stop: asked after each round; True writes a checkpoint and ends with status "stopped".

    Raises:
        UserError: nothing to train on, a model folder or a checkpoint that does not fit, or a round in which every product failed.
        PoolError, SyncError, EvaluationError: no workers, weights that did not verify, a policy that cannot be measured.
    """
    if not source.products:
        raise UserError(f"no usable product to train on; {len(source.rejected)} catalog rows were rejected")
    resolve_model_folder(config.policy.model, "policy", config.policy.trust_remote_code)
    resolve_model_folder(config.renderer.model, "renderer")
    if config.reward.kind == "model":
        resolve_model_folder(config.reward.model, "reward")
    run_folder.prepare(resume=resume)
    simulated = judge is not None and judge.simulated
    loop = OnlineLoop(
        config, source, eval_source, judge, run_folder, facts or KnownFacts(simulated=simulated), progress or Silent(), should_stop
    )
    watch = asyncio.create_task(loop.memory.watch())
    metrics = asyncio.create_task(watch_loop(config, loop.observe, run_folder, progress or Silent()))
    try:
        return await loop.run(resume)
    finally:
        watch.cancel()
        await cancelled(metrics)
        await loop.close()


class OnlineLoop:
    """The controller of one run."""

    def __init__(
        self,
        config: Config,
        source: ProductSource,
        eval_source: ProductSource,
        judge: Judge | None,
        folder: RunFolder,
        facts: KnownFacts,
        progress: Progress,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config, self._folder, self._facts, self._progress, self._should_stop = config, folder, facts, progress, should_stop
        self._products = list(source.products)
        self._by_id = {product.product_id: product for product in self._products}
        self._source, self._judge = ray.put(source), None if judge is None else ray.put(judge)
        self._evaluation = Evaluation(config, list(eval_source.products), ray.put(eval_source), self._judge, folder)
        self._round_size = min(config.rollout.products_per_round, len(self._products))
        self._clock, self._throughput, self.memory = StageClock(), Throughput(), MemoryWatch()
        self._pipeline = RolloutPipeline(config, self._clock, self._throughput, progress)
        self._learner = LearnerGroup(config)
        self._store = CheckpointStore(folder, config.learner.keep_checkpoints)
        self._journal = PairJournal(folder)
        self._open_books(Ledger(source.rejected))
        self._cursor = ProductCursor(len(self._products), config.run.seed)
        self._changed = asyncio.Condition()
        self._version = PolicyVersion(0, 0)
        self._published: PublishedWeights | None = None
        self._rounds_done = self._rounds_admitted = self._next_id = 0
        self._unwritten: dict[int, set[str]] = {}
        self._judging: dict[int, list[asyncio.Task[None]]] = {}
        self._details: list[RoundDetail] = []
        self._before: MeasuredPolicy | None = None
        self._earlier_sync = SyncSummary(count=0, verified=0)
        self._stopped = False

    async def run(self, resume: bool) -> RunSummary:
        """Start, measure, train, measure again."""
        self._progress.phase("starting", 0)
        state = self._store.newest(self._config, self._progress.note) if resume else None
        # Only now: a resume that does not fit must leave the run's own config as it is.
        self._folder.write_text("config.yaml", config_yaml(self._config))
        await self._start(state)
        if self._before is None:
            self._progress.phase("measuring the initial policy", len(self._evaluation.products))
            self._before = await self._evaluation.measure(self._pipeline, "before")
            self._facts = replace(self._facts, ctr_ceiling=await self._evaluation.ceiling(self._pipeline))
        write_summary(self._summary("running", None), self._folder)
        await self._train_unwrapped(() if state is None else state.in_flight)
        if self._stopped:
            return self._finish("stopped", None)
        self._progress.phase("measuring the final policy", len(self._evaluation.products))
        after = await self._evaluation.measure(self._pipeline, "after")
        write_gallery(self._folder, self._evaluation.gallery(self._before.gallery, after.gallery))
        return self._finish("done", after)

    def observe(self) -> Snapshot:
        """The loop at this moment, for the metrics."""
        return observe(
            rounds_planned=self._config.rollout.rounds,
            rounds_done=self._rounds_done,
            version=self._version.number,
            pipeline=self._pipeline,
            ranks=(self._learner.ready_ranks, self._config.learner.world_size),
            buffer=self._buffer,
            ledger=self._ledger,
            clock=self._clock,
            throughput=self._throughput,
            memory=self.memory,
            details=self._details,
        )

    async def close(self) -> None:
        """Stop all workers; the run folder stays as it is."""
        self._learner.close()
        await self._pipeline.close()
        self._folder.close()

    def _open_books(self, ledger: Ledger) -> None:
        staleness = self._config.rollout.max_staleness
        self._ledger = ledger
        self._buffer = PreferenceBuffer(num_slots(self._round_size, staleness), staleness, ledger, self._journal)
        self._intake = Intake(self._products, self._buffer, self._config.reward.margin)

    async def _start(self, state: RunState | None) -> None:
        config = self._config
        steps = ceil(self._round_size / config.learner.batch_size) * config.learner.epochs * config.rollout.rounds
        if config.learner.world_size > 1:
            self._progress.note("forming the learner group; the first time on a machine DeepSpeed compiles for about a minute")
        pools = (self._pipeline.policy, self._pipeline.renderer, self._pipeline.scorer)
        await asyncio.gather(self._learner.start(steps), *(pool.start() for pool in pools))
        if state is not None:
            await self._restore(state)
        self._published = await self._learner.publish(self._version)
        await self._pipeline.go_live(self._published)

    async def _train(self, in_flight: Sequence[Admission]) -> None:
        restored = regroup(in_flight, self._by_id, self._round_size, self._config.rollout.shard_size)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._rounds_done, self._rounds_admitted):
                    self._open_round(number, [shard for shard in restored if shard.admissions[0].round == number], group)
                for pair in self._buffer.ready():
                    self._intake.restore(pair)
                group.create_task(self._admit_rounds(group))
                await self._learn_rounds()
                if self._stopped:
                    raise _Stopped
        except* _Stopped:
            logger.info("stopped after round %d", self._rounds_done)

    async def _train_unwrapped(self, in_flight: Sequence[Admission]) -> None:
        try:
            await self._train(in_flight)
        except BaseExceptionGroup as faults:
            # One fault cancels the rest; the caller must see the first as it was raised, to tell a user's error from ours.
            raise _first(faults) from None

    async def _admit_rounds(self, group: asyncio.TaskGroup) -> None:
        rollout = self._config.rollout
        for number in range(self._rounds_admitted, rollout.rounds):
            await self._until(partial(self._may_admit, number))
            shards = admit_round(
                self._products, self._cursor, number, self._next_id, self._round_size, rollout.shard_size, self._config.run.seed
            )
            self._next_id += self._round_size
            self._buffer.admit([admission for shard in shards for admission in shard.admissions])
            self._rounds_admitted = number + 1
            self._open_round(number, shards, group)
            await self._notify()

    def _may_admit(self, number: int) -> bool:
        return number <= self._rounds_done + self._config.rollout.max_staleness and self._buffer.free_slots >= self._round_size

    def _can_learn(self, number: int) -> bool:
        return self._rounds_admitted > number and self._buffer.round_is_complete(number)

    def _open_round(self, number: int, shards: list[Shard], group: asyncio.TaskGroup) -> None:
        self._intake.open_round(number)
        self._unwritten[number] = {shard.name for shard in shards}
        self._judging[number] = []
        for shard in shards:
            group.create_task(self._roll_out(number, shard, group))

    async def _roll_out(self, number: int, shard: Shard, group: asyncio.TaskGroup) -> None:
        def written() -> None:
            self._unwritten[number].discard(shard.name)
            group.create_task(self._notify())

        try:
            rolled = await self._pipeline.rollout(shard, self._source, self._config.rollout.candidates, written)
        except ShardPoisoned as poisoned:
            self._intake.drop_shard(shard, poisoned)
        else:
            self._throughput.add(pairs=self._intake.take_up(rolled))
            if self._judge is not None:
                self._judging[number].append(group.create_task(self._judge_shard(self._intake.notes[number], rolled)))
        written()

    async def _judge_shard(self, notes: RoundNotes, rolled: RolledOut) -> None:
        """Watch relevance and true CTR of what is being trained on. Only the report reads them."""
        judged = await judge_creatives.remote(self._judge, rolled.shard.products, [rolled.creatives])
        notes.judgements += [judgement for row in judged for judgement in row]

    async def _learn_rounds(self) -> None:
        for number in range(self._rounds_done, self._config.rollout.rounds):
            started = time.perf_counter()
            self._progress.phase(f"round {number + 1} of {self._config.rollout.rounds}", self._round_size)
            await self._until(partial(self._can_learn, number))
            pairs = self._buffer.take_round(number, self._version)
            notes = self._intake.notes[number]
            if notes.failed and not pairs and not notes.tied:
                raise UserError(f"round {number + 1}: all {notes.failed} products failed, the first {notes.first_failure}")
            metrics = await self._learn(number, pairs) if pairs else None
            self._buffer.weights_live(number)
            self._rounds_done = number + 1
            await self._notify()
            await self._close_round(number, metrics, time.perf_counter() - started)
            if self._stopped:
                return

    async def _learn(self, number: int, pairs: list[PreferencePair]) -> RoundMetrics:
        """One round of optimiser steps, then the new weights to every policy worker."""
        negatives = None
        if self._config.objective == "pcpo_official":
            pairs, negatives = official_negatives(pairs, self._by_id)
        blocks, places = self._intake.hand_over_views(pairs)
        with self._clock.running("learn"):
            metrics = await self._learner.train(ray.put(pairs_to_table(pairs)), blocks, places, negatives)
        self._progress.advanced("learn", len(pairs))
        version = replace(self._version, number=number + 1)
        with self._clock.running("sync"):
            published = await self._learner.publish(version)
        verify_publication(published, self._published, learned=metrics.lr > 0.0)
        await self._prompts_written(number + self._config.rollout.max_staleness)
        await self._pipeline.go_live(published)
        self._version, self._published = version, published
        return metrics

    async def _prompts_written(self, last: int) -> None:
        """Wait until the rounds up to `last`, which the weights now live are to write, have their prompts."""
        last = min(last, self._config.rollout.rounds - 1)
        await self._until(
            lambda: self._rounds_admitted > last and not any(names for number, names in self._unwritten.items() if number <= last)
        )

    async def _close_round(self, number: int, metrics: RoundMetrics | None, seconds: float) -> None:
        await asyncio.gather(*self._judging.pop(number))
        self._unwritten.pop(number)
        detail = round_detail(number, self._intake.notes.pop(number), metrics, self._version, seconds)
        self._details.append(detail)
        self._folder.append_metrics(detail.model_dump(mode="json"))
        self._folder.write_ledger(self._ledger.to_table())
        self._journal.forget_before(number)
        self._progress.round_ended(detail)
        self._stopped = self._should_stop() and self._rounds_done < self._config.rollout.rounds
        due = self._rounds_done % self._config.learner.checkpoint_every == 0 or self._rounds_done == self._config.rollout.rounds
        if due or self._stopped:
            await self._store.save(self._state(), self._config, self._learner.save)
        write_summary(self._summary("running", None), self._folder)

    def _finish(self, status: str, after: MeasuredPolicy | None) -> RunSummary:
        self.memory.sample()
        summary = self._summary(status, after)
        write_summary(summary, self._folder)
        self._folder.write_ledger(self._ledger.to_table())
        return summary

    def _summary(self, status: str, after: MeasuredPolicy | None) -> RunSummary:
        times = self._clock.summary()
        numbers = RunNumbers(
            status=status,
            rounds_done=self._rounds_done,
            version=self._version,
            ledger=self._ledger,
            details=self._details,
            before=self._before,
            after=after,
            time=times,
            throughput=self._throughput.summary(times.total_s),
            sync=SyncSummary(count=self._pipeline.syncs, verified=self._pipeline.verified),
            peak_memory_gib=self.memory.peak_gib,
        )
        return build_summary(self._config, self._facts, numbers)

    def _state(self) -> RunState:
        """A snapshot at a round boundary. Rollout may run on meanwhile: the ledger is copied."""
        assert self._before is not None
        return RunState(
            rounds_done=self._rounds_done,
            rounds_admitted=self._rounds_admitted,
            version=self._version,
            next_admission_id=self._next_id,
            cursor_position=self._cursor.position,
            in_flight=tuple(self._buffer.in_flight()),
            ready=tuple(self._buffer.ready()),
            ledger=Ledger.from_table(self._ledger.to_table()),
            extra={
                "seconds": self._clock.seconds(),
                "counts": dict(self._throughput.counts),
                "syncs": [self._pipeline.syncs, self._pipeline.verified],
                "peak_memory_gib": self.memory.peak_gib,
                "details": [detail.model_dump(mode="json") for detail in self._details],
                "before": self._before.to_json(),
                "ctr_ceiling": self._facts.ctr_ceiling,
            },
        )

    async def _restore(self, state: RunState) -> None:
        """Take up a checkpoint. Its incarnation ends here: what was trained after it was written is trained anew."""
        await self._learner.load(self._store.url(state.rounds_done))
        self._open_books(state.ledger)
        self._buffer.restore(state.in_flight, state.ready)
        for start in range(0, len(state.ready), self._config.rollout.shard_size):
            pairs = state.ready[start : start + self._config.rollout.shard_size]
            ids = [pair.admission.product_id for pair in pairs]
            _, _, views = load_products.remote(self._source, ids, self._config.policy.image_size)
            for index, pair in enumerate(pairs):
                self._intake.keep_view(pair, views, index)
        self._version = PolicyVersion(state.version.incarnation + 1, state.version.number)
        self._rounds_done, self._rounds_admitted, self._next_id = state.rounds_done, state.rounds_admitted, state.next_admission_id
        self._cursor.position = state.cursor_position
        extra = state.extra
        self._clock.add_earlier(extra["seconds"])
        self._throughput.counts.update(extra["counts"])
        self._pipeline.syncs, self._pipeline.verified = extra["syncs"]
        self.memory.peak_gib = max(self.memory.peak_gib, extra["peak_memory_gib"])
        self._details = [RoundDetail.model_validate(detail) for detail in extra["details"]]
        self._before = MeasuredPolicy.from_json(extra["before"])
        self._facts = replace(self._facts, ctr_ceiling=extra["ctr_ceiling"])
        self._progress.note(f"resumed after round {state.rounds_done} from {self._store.url(state.rounds_done)}")

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Stopped(Exception):
    """The user asked to stop; a checkpoint is written."""


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = faults.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
