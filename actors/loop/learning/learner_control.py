"""Gives rounds to the learner group, hands its weights to the policy workers, and has the group re-formed when it is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, TypeVar

from ray import ObjectRef

from actors.checkpoints.store import CheckpointStore
from actors.cluster.task_errors import cancelled
from actors.learner.group import LearnerGroup
from actors.learner.rank_health import LearnerLost
from actors.loop.learning.learner_recovery import LearnerRecovery, Recoveries
from actors.loop.learning.product_views import load_views
from actors.loop.learning.prompt_learning import PromptLearning
from actors.loop.learning.round_training import RoundTraining
from actors.loop.state.run_state import RunState
from actors.rollout.pipeline import RolloutPipeline
from actors.rollout.publication import WeightsLost
from actors.telemetry.progress import Progress
from actors.telemetry.stage_times import StageClock
from actors.weights.published import PublishedWeights
from actors.weights.verification import verify_publication
from caig_rl.config.schema import Config
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.types import PolicyVersion, PreferenceGroup, RolloutGroup

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LearnerControl:
    """The learner of a run, and the weights that are live."""

    def __init__(
        self,
        config: Config,
        run_state: RunState,
        group: LearnerGroup,
        training: RoundTraining,
        recovery: LearnerRecovery,
        prompts: PromptLearning,
        store: CheckpointStore,
        pipeline: RolloutPipeline,
        progress: Progress,
        clock: StageClock,
    ) -> None:
        """`clock` times the stages "learn" and "sync"."""
        self._config, self._run_state, self.group, self._training, self._recovery = config, run_state, group, training, recovery
        self.prompts, self._store, self._pipeline, self._progress, self._clock = prompts, store, pipeline, progress, clock
        self.live: PublishedWeights | None = None
        """The weights that policy workers hold."""
        groups = run_state.round_size + round(config.learner.replay * run_state.round_size)
        self._total_steps = ceil(groups / config.learner.batch_size) * config.learner.epochs * config.rollout.rounds
        self.has_moved = False
        """True while the weights are not those of the rounds done: between a round's first step and its new weights being live, and once an
        older version is shown."""
        self._shown: tuple[int, PolicyVersion] | None = None

    @property
    def recoveries(self) -> Recoveries:
        """How often the group was re-formed, and what it trained again."""
        return self._recovery.recoveries

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
                self._recovery.count_loss(error)
                self.group.close()
                form = self.group.re_form
        if lost_at is not None:
            self._recovery.record_re_formed(lost_at)

    def restore_prompt_model(self) -> None:
        """After the run's state was restored: the prompt model learns again from the rounds done.

        Raises:
            CheckpointError: the journal lacks groups of them.
        """
        trained = self._run_state.ledger.trained_by_round()
        rounds_done = self._run_state.rounds_done
        if self.prompts.is_used:
            rounds = [(number, self._training.journalled(number, trained[number])) for number in sorted(trained) if number < rounds_done]
            self.prompts.restore(rounds, rounds_done)

    async def show(self, step: int | None = None) -> None:
        """The weights of checkpoint `step` (None: those of the model's folder) go live as the run's current version.

        Raises:
            CheckpointError: the checkpoint does not fit.
        """
        try:
            if step is not None:
                await self.group.load(self._store.url(step))
            await self._go_live(await self.group.publish(self._run_state.version))
        except LearnerLost as error:
            await self._bring_back(error)

    async def show_result(self, step: int, version: PolicyVersion) -> None:
        """The weights of checkpoint `step` go live as `version`, after the last round and for good: a lost learner comes back with them.

        Raises:
            LearnerError: the learner was lost too often.
        """
        self._shown, self.has_moved = (step, version), True
        try:
            await self._go_live(await self._load_shown(step, version))
        except LearnerLost as error:
            await self._bring_back(error)

    async def while_waiting(self, work: Awaitable[T]) -> T:
        """`work`'s result. Where policy workers wait meanwhile for weights that went away with their node, the learner makes them anew.

        Raises:
            LearnerError: the learner was lost too often.
        """
        task = asyncio.ensure_future(work)
        try:
            while (lost := await self._weights_lost_before(task)) is not None:
                await self._bring_back(LearnerLost(str(lost), "node"))
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
                self._recovery.round_learned()
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

    async def initial_log_probs(self, groups: Sequence[RolloutGroup], source: ObjectRef) -> list[list[tuple[float, ...]]]:
        """How likely the initial policy, whatever the reference is by now, finds the answers of `groups`: `[i][k]` holds the natural-log
        probability of each token of answer k of group i. `source` refers to their products' ProductSource.

        Raises:
            LearnerError: the learner was lost too often.
        """
        while True:
            blocks, places = load_views(self._config, source, [group.admission.product_id for group in groups])
            try:
                return await self.group.initial_log_probs(groups, blocks, places)
            except LearnerLost as error:
                await self._bring_back(error)

    async def _learn(self, number: int, pairs: list[PreferenceGroup], prompts_written: Callable[[], Awaitable[None]]) -> RoundMetrics:
        self.has_moved = True
        with self._clock.running("learn"):
            groups = await asyncio.to_thread(self.prompts.learn, number, pairs)
            self._run_state.keep_shaped(groups)
            metrics = await self._training.train(groups)
        metrics = replace(metrics, replayed=metrics.rows - len(groups))
        self._progress.advanced("learn", len(pairs))
        version = replace(self._run_state.version, number=number + 1)
        with self._clock.running("sync"):
            published = await self.group.publish(version)
        verify_publication(published, self.live, learned=metrics.lr > 0.0)
        await self._unless_weights_are_lost(prompts_written())
        await self._go_live(published)
        self._run_state.version = version
        return metrics

    async def _load_shown(self, step: int, version: PolicyVersion) -> PublishedWeights:
        await self.group.load(self._store.url(step))
        return await self.group.publish(version)

    async def _go_live(self, published: PublishedWeights) -> None:
        await self._unless_weights_are_lost(self._pipeline.go_live(published))
        self.live = published

    async def _unless_weights_are_lost(self, work: Awaitable[None]) -> None:
        """Raises LearnerLost where `work` cannot end, because policy workers wait for weights that nobody holds any more."""
        task = asyncio.ensure_future(work)
        try:
            if (lost := await self._weights_lost_before(task)) is not None:
                raise LearnerLost(str(lost), "node")
            task.result()
        finally:
            await cancelled(task)

    async def _weights_lost_before(self, task: asyncio.Future[Any]) -> WeightsLost | None:
        """The loss of the live weights, where it comes before `task` has ended; else None, once it has."""
        lost = asyncio.ensure_future(self._pipeline.publication.when_lost())
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return None
            loss = lost.result()
            logger.warning("version %s: %s: %s", loss.version, loss, loss.detail)
            return loss
        finally:
            lost.cancel()

    async def _bring_back(self, error: LearnerLost) -> None:
        lost_at = time.monotonic()
        while True:
            self._recovery.count_loss(error)
            earlier = len(self.recoveries.replayed)
            self.has_moved = True
            try:
                published = await self._recovery.re_form(self._total_steps, self.live)
                await self._go_live(published if self._shown is None else await self._load_shown(*self._shown))
            except LearnerLost as again:
                error = again
            else:
                self.has_moved = self._shown is not None
                return self._recovery.record_re_formed(lost_at, self.recoveries.replayed[earlier:])
