"""Teaches rounds to the learner group, hands its weights to the policy workers, and brings the group back when it is lost.

    a rank dies, or stands still, or weights go away with their node before all policy workers have pulled them
        -> the group is formed anew -> the newest complete checkpoint -> the rounds trained since, from the journal
        -> those weights go live, as a new incarnation -> the round under way again, from memory

The optimiser's step count comes with the checkpoint, so each pair enters the lineage of the surviving weights once, at its own step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, TypeVar

import ray

from actors.checkpoints.store import CheckpointStore
from actors.learner.group import LearnerGroup
from actors.learner.rank_health import LearnerLost
from actors.loop.pair_selection import official_negatives
from actors.loop.run_record import RunRecord
from actors.loop.run_state import RunState
from actors.loop.task_errors import cancelled
from actors.rollout.fleet import Fleet
from actors.rollout.pipeline import RolloutPipeline
from actors.rollout.short_tasks import load_products
from actors.telemetry.progress import Progress
from actors.weights.published import PublishedWeights
from actors.weights.verification import verify_publication
from caig_rl.config.schema import Config
from caig_rl.data.pair_table import pairs_from_table, pairs_to_table
from caig_rl.errors import CheckpointError, UserError
from caig_rl.learning.preference.learner import RoundMetrics
from caig_rl.runs.events import LEARNER
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import Replay
from caig_rl.types import PolicyVersion, PreferencePair

logger = logging.getLogger(__name__)

T = TypeVar("T")

WEIGHTS_LOST = "the live weights went away with their node before every policy worker had pulled them"


class LearnerError(UserError):
    """The learner was lost more often than `recovery.learner_restarts` allows."""


class LearnerControl:
    """The learner of a run, and all that is needed to teach it a round again."""

    def __init__(
        self,
        config: Config,
        run_state: RunState,
        record: RunRecord,
        store: CheckpointStore,
        folder: RunFolder,
        pipeline: RolloutPipeline,
        source: ray.ObjectRef,
        progress: Progress,
    ) -> None:
        """`folder` holds the journal; `source` refers to the ProductSource."""
        self._config, self._run_state, self._record, self._store, self._folder = config, run_state, record, store, folder
        self._pipeline, self._source, self._progress = pipeline, source, progress
        self.group = LearnerGroup(config)
        self._published: PublishedWeights | None = None
        self._total_steps = ceil(run_state.round_size / config.learner.batch_size) * config.learner.epochs * config.rollout.rounds
        self._restarts = 0
        self.has_moved = False
        """True while the weights are those of no round: between a round's first step and its new weights being live."""

    async def start(self) -> None:
        """Form the group."""
        if self._config.learner.world_size > 1:
            self._progress.note("forming the learner group; the first time on a machine DeepSpeed compiles for about a minute")
        form: Callable[[int], Awaitable[None]] = self.group.start
        lost_at: float | None = None
        while True:
            try:
                await form(self._total_steps)
                break
            except LearnerLost as error:
                lost_at = lost_at or time.monotonic()
                self._count_loss(error)
                self.group.close()
                form = self.group.start_again
        if lost_at is not None:
            self._tell_regrouped(lost_at, ())

    async def show(self, step: int | None = None) -> None:
        """The weights of checkpoint `step` (None: those of the model's folder) go live as the book's version.

        Raises:
            CheckpointError: the checkpoint does not fit.
        """
        try:
            if step is not None:
                await self.group.load(self._store.url(step))
            await self._go_live(await self.group.publish(self._run_state.version))
        except LearnerLost as error:
            await self._bring_back(error)

    async def while_waiting(self, work: Awaitable[T]) -> T:
        """`work`'s result. Where policy workers wait meanwhile for weights that went away with their node, the learner makes them anew.

        Raises:
            LearnerError: the learner was lost too often.
        """
        task = asyncio.ensure_future(work)
        try:
            while not await self._ends_with_weights(task):
                await self._bring_back(LearnerLost(WEIGHTS_LOST, "node"))
            return task.result()
        finally:
            await cancelled(task)

    async def learn(self, number: int, prompts_written: Callable[[], Awaitable[None]]) -> RoundMetrics | None:
        """One round of optimiser steps, then the new weights to every policy worker. None where the round has nothing to teach.

        Args:
            number: the round, which nothing is in flight of.
            prompts_written: waits until every round that the weights now live are to write has its prompts.

        Raises:
            LearnerError: the learner was lost too often.
            SyncError: the weights did not verify.
        """
        while True:
            pairs = self._run_state.take_pairs(number)
            if not pairs:
                return None
            try:
                metrics = await self._learn(number, pairs, prompts_written)
            except LearnerLost as error:
                await self._bring_back(error)
            else:
                self._restarts = 0
                return metrics

    async def save(self, url: str) -> None:
        """Write learner and policy under `url`, the address of the rounds done's checkpoint; by a new group where the old one is lost."""
        while True:
            try:
                return await self.group.save(url)
            except LearnerLost as error:
                await self._bring_back(error)
                # Shares of ranks that the new group does not have would be taken for its own.
                await asyncio.to_thread(self._store.discard, self._run_state.rounds_done)

    async def _learn(self, number: int, pairs: list[PreferencePair], prompts_written: Callable[[], Awaitable[None]]) -> RoundMetrics:
        self.has_moved = True
        with self._record.clock.running("learn"):
            metrics = await self._train(pairs)
        self._progress.advanced("learn", len(pairs))
        version = replace(self._run_state.version, number=number + 1)
        with self._record.clock.running("sync"):
            published = await self.group.publish(version)
        verify_publication(published, self._published, learned=metrics.lr > 0.0)
        await self._unless_weights_are_lost(prompts_written())
        await self._go_live(published)
        self._run_state.version = version
        return metrics

    async def _go_live(self, published: PublishedWeights) -> None:
        await self._unless_weights_are_lost(self._pipeline.go_live(published))
        self._published, self._record.sha256 = published, published.sha256

    async def _unless_weights_are_lost(self, work: Awaitable[None]) -> None:
        """Raises LearnerLost where `work` cannot end, because policy workers wait for weights that nobody holds any more."""
        task = asyncio.ensure_future(work)
        try:
            if not await self._ends_with_weights(task):
                raise LearnerLost(WEIGHTS_LOST, "node")
            task.result()
        finally:
            await cancelled(task)

    async def _ends_with_weights(self, task: asyncio.Future[Any]) -> bool:
        """True when `task` has ended; False when weights were lost before it did."""
        lost = asyncio.ensure_future(self._pipeline.weights_lost.wait())
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            return task.done()
        finally:
            lost.cancel()

    async def _train(self, pairs: Sequence[PreferencePair]) -> RoundMetrics:
        """Optimiser steps over `pairs`, in order of admission."""
        negatives, rows = None, list(pairs)
        if self._config.objective == "pcpo_official":
            rows, negatives = official_negatives(rows, self._run_state.by_id)
        blocks, places = self._views(rows)
        return await self.group.train(ray.put(pairs_to_table(rows)), blocks, places, negatives)

    async def _bring_back(self, error: LearnerLost) -> None:
        lost_at, fleet = time.monotonic(), self._record.fleet
        assert fleet is not None
        while True:
            self._count_loss(error)
            earlier = len(fleet.replayed)
            try:
                await self._form_anew(fleet)
            except LearnerLost as again:
                error = again
            else:
                return self._tell_regrouped(lost_at, fleet.replayed[earlier:])

    def _tell_regrouped(self, lost_at: float, again: Sequence[Replay]) -> None:
        numbers = {"world_size": self.group.world_size, "rounds": len(again), "pairs": sum(one.pairs for one in again)}
        self._record.record_event("regrouped", LEARNER, seconds=time.monotonic() - lost_at, numbers=numbers)

    def _count_loss(self, error: LearnerLost) -> None:
        if self._restarts >= self._config.recovery.learner_restarts:
            raise LearnerError(f"{error} (it was formed anew {self._restarts} times since the last round)") from error
        self._restarts += 1
        self._record.record_event("lost", LEARNER, error.reason, str(error))
        self._progress.note(f"{error}; the group is formed anew")

    async def _form_anew(self, fleet: Fleet) -> None:
        """A new group at the weights of the rounds done; what was rolled out by weights that are no more will expire.

        Raises:
            CheckpointError: the journal lacks pairs that are to be trained again.
            LearnerLost: it was lost again.
        """
        run_state, live = self._run_state, self._published
        self.has_moved = True
        # Pictures may have been lost with the rank's node: they are loaded again.
        run_state.intake.keep_views_of(())
        self.group.close()
        await self.group.start_again(self._total_steps)
        if self.group.world_size != self._config.learner.world_size:
            self._progress.note(f"the learner goes on with {self.group.world_size} of {self._config.learner.world_size} ranks")
        incarnation = run_state.next_incarnation()
        # Without a checkpoint the model's own folder is where the run began.
        step = self._store.newest_step(self._progress.note, at_most=run_state.ledger.first_not_learned())
        if step is not None:
            await self.group.load(self._store.url(step))
        await self._replay(step or 0, incarnation, fleet)
        published = await self.group.publish(PolicyVersion(incarnation, run_state.rounds_done))
        # Trained again to the same bits, the versions since the checkpoint live on under their new names.
        is_same = live is not None and published.sha256 == live.sha256
        run_state.fall_back(incarnation, run_state.rounds_done if is_same else step or 0)
        fleet.learner_restarts += 1
        await self._go_live(published)
        self.has_moved = False

    async def _replay(self, rounds_kept: int, incarnation: int, fleet: Fleet) -> None:
        """Mark what was trained after `rounds_kept` rounds, and train it again, round by round."""
        ledger = self._run_state.ledger
        for number in ledger.roll_back(rounds_kept):
            pairs = self._journalled(number, ledger.to_replay(number))
            logger.warning("round %d: %d pairs are trained again from the journal", number + 1, len(pairs))
            await self._train(pairs)
            ledger.replay([pair.admission.admission_id for pair in pairs], PolicyVersion(incarnation, number + 1))
            fleet.replayed.append(Replay(incarnation=incarnation, round=number, pairs=len(pairs)))

    def _journalled(self, number: int, admission_ids: Sequence[int]) -> list[PreferencePair]:
        """The pairs of these admissions of round `number`, in their order, from the journal."""
        name = f"pairs/round-{number:05d}.parquet"
        rows = pairs_from_table(self._folder.read_table(name)) if self._folder.exists(name) else []
        found = {pair.admission.admission_id: pair for pair in rows}
        missing = [one for one in admission_ids if one not in found]
        if missing:
            raise CheckpointError(
                f"{self._folder.path(name)} lacks {len(missing)} pairs that are to be trained again, the first of admission {missing[0]}. "
                "Put the file back and go on by --resume, or start anew under another run.name."
            )
        return [found[one] for one in admission_ids]

    def _views(self, pairs: Sequence[PreferencePair]) -> tuple[list[ray.ObjectRef], list[tuple[int, int]]]:
        """The blocks with the products' pictures, as the policy saw them, and for each pair its (block, row)."""
        kept = self._run_state.intake.views_of(pairs)
        if kept is not None:
            return kept
        # Rolled out in another life, or lost with a node: loaded again, they have the same pixels.
        size = self._config.rollout.shard_size
        blocks, places = [], []
        for start in range(0, len(pairs), size):
            ids = [pair.admission.product_id for pair in pairs[start : start + size]]
            blocks.append(load_products.remote(self._source, ids, self._config.policy.image_size)[2])
            places += [(len(blocks) - 1, row) for row in range(len(ids))]
        return blocks, places
