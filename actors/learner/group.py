"""The learner group: one Ray actor a rank, all called alike. The controller says when to step, export and save."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from ray import ObjectRef
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster.connect import worker_options
from actors.cluster.stall_deadline import Patience
from actors.learner.rank import LearnerRank, NegativeIndex, ViewIndex
from actors.learner.rank_health import Pace, from_all_ranks, last_of
from actors.telemetry.worker_log import with_absolute_root
from actors.weights.published import Canary, PublishedWeights
from caig_rl.config.schema import Config, PoolConfig
from caig_rl.errors import UserError
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.types import PolicyVersion, Rollout, RolloutGroup
from caig_rl.wording import duration

logger = logging.getLogger(__name__)


class NoRoomError(UserError):
    """The cluster has no room for the ranks."""


class LearnerGroup:
    """All ranks, in one placement group: they start together or not at all."""

    def __init__(self, config: Config) -> None:
        self._config = with_absolute_root(config)
        self._ranks: list[Any] = []
        self._placement: PlacementGroup | None = None
        self._canary: Canary | None = None
        self._patience: dict[str, Patience] = {}
        self.world_size = config.learner.world_size
        """Ranks of the group as it is now."""

    async def start(self, total_steps: int, world_size: int | None = None, timeout_s: float | None = None) -> None:
        """Reserve the ranks' places, start them, form the group.

        Args:
            total_steps: optimiser steps of the whole run.
            world_size: ranks; None: `learner.world_size`.
            timeout_s: longest wait for their places; None: `cluster.start_timeout_s`.

        Raises:
            NoRoomError: the cluster has no room for them in time.
        """
        learner = self._config.learner
        size = self.world_size = world_size or learner.world_size
        pool = PoolConfig(workers=size, num_cpus=learner.num_cpus, num_gpus=learner.num_gpus, threads=learner.threads)
        bundle = {"CPU": learner.num_cpus} | ({"GPU": learner.num_gpus} if learner.num_gpus else {})
        labels = [learner.node_labels] * size if learner.node_labels else None
        self._placement = placement_group([bundle] * size, strategy="PACK", bundle_label_selector=labels)
        timeout = timeout_s or self._config.cluster.start_timeout_s
        try:
            await _placed(self._placement, timeout)
        except TimeoutError:
            self.close()
            total = ray.cluster_resources()
            raise NoRoomError(
                f"waited {duration(timeout)} for {size} learner rank(s) of {bundle}; the cluster has {total.get('CPU', 0):g} CPU "
                f"and {total.get('GPU', 0):g} GPU. Ask for less in learner, add nodes, or raise cluster.start_timeout_s."
            ) from None
        remote = ray.remote(LearnerRank)
        for rank in range(size):
            strategy = PlacementGroupSchedulingStrategy(self._placement, placement_group_bundle_index=rank)
            self._ranks.append(remote.options(**worker_options(pool), scheduling_strategy=strategy).remote(self._config, rank))
        master = (await self._call("address"))[0]
        self._canary = (await self._call("build", master, size, total_steps))[0]

    async def re_form(self, total_steps: int) -> None:
        """`start` for a group that has lost a rank: as large as it was, or the largest for which the shrunken cluster has room.

        Raises:
            NoRoomError: there is no room for one rank, for as long as a start may take.
        """
        learner, patience = self._config.learner, self._config.recovery.regroup_s
        *larger, least = group_sizes(learner.world_size, learner.batch_size)
        for size in larger:
            try:
                return await self.start(total_steps, size, patience)
            except NoRoomError:
                logger.warning("no room for %d learner ranks within %s", size, duration(patience))
        # Fewer there cannot be: the learner waits for a new node as it did at the start.
        await self.start(total_steps, least, max(patience, self._config.cluster.start_timeout_s))

    @property
    def ready_ranks(self) -> int:
        """Ranks that have formed the group: none, or all."""
        return len(self._ranks) if self._canary is not None else 0

    async def train(
        self,
        table: ObjectRef,
        view_blocks: Sequence[ObjectRef],
        view_index: ViewIndex,
        negatives: Sequence[Rollout | None] | None,
        negative_index: NegativeIndex | None = None,
    ) -> RoundMetrics:
        """A round on all ranks; the metrics are the group's. Raises LearnerLost, as all that follow do."""
        pace = self._pace("train")
        streams = [rank.train.remote(table, list(view_blocks), view_index, negatives, negative_index) for rank in self._ranks]
        answers = [last_of(stream, partial(pace.moved, rank)) for rank, stream in enumerate(streams)]
        metrics: RoundMetrics = (await from_all_ranks(answers, "train", pace))[0]
        return metrics

    async def publish(self, version: PolicyVersion) -> PublishedWeights:
        """Export the current weights as `version`. The refs belong to the caller and outlive the rank."""
        assert self._canary is not None, "start comes first"
        replies = [rank.export.options(num_returns=2).remote(self._canary) for rank in self._ranks]
        answers = [meta for meta, _ in replies]
        sha256, log_probs = (await from_all_ranks(answers, "export", self._pace("export")))[0]
        return PublishedWeights(version, sha256, self._canary, log_probs, (replies[0][1],))

    async def initial_log_probs(
        self, groups: Sequence[RolloutGroup], view_blocks: Sequence[ObjectRef], view_index: ViewIndex
    ) -> list[list[tuple[float, ...]]]:
        """`[i][k]`: natural-log probability, under the initial policy, of each token of answer k of group i."""
        found: list[list[tuple[float, ...]]] = (await self._call("initial_log_probs", groups, list(view_blocks), view_index))[0]
        return found

    async def save(self, url: str) -> None:
        """Write learner checkpoint and policy folder under `url`."""
        await self._call("save", url)

    async def load(self, url: str) -> None:
        """Go on from the checkpoint under `url`. Raises CheckpointError where it does not fit."""
        await self._call("load", url)

    def handles(self) -> list[Any]:
        """The ranks' actors, for whoever injects faults."""
        return list(self._ranks)

    def close(self) -> None:
        """Stop the ranks and give their places back."""
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks, self._canary = [], None
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None

    async def _call(self, method: str, *arguments: Any) -> list[Any]:
        answers = [getattr(rank, method).remote(*arguments) for rank in self._ranks]
        return await from_all_ranks(answers, method, self._pace(method))

    def _pace(self, method: str) -> Pace:
        """Steps of a round are short; what reads or writes a whole model may take as long as a start."""
        if method not in self._patience:
            recovery = self._config.recovery
            floor = recovery.learner_stall_s if method == "train" else max(recovery.learner_stall_s, self._config.cluster.start_timeout_s)
            self._patience[method] = Patience(floor, recovery.stall_factor)
        return Pace(self._patience[method], len(self._ranks))


async def _placed(placement: PlacementGroup, timeout_s: float) -> None:
    """Wait for the ranks' places. Asked of the cluster's table: `ready()` would first have to start a worker for its answer."""
    deadline = time.monotonic() + timeout_s
    while placement_group_table(placement)["state"] != "CREATED":
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.1)


def group_sizes(world_size: int, batch_size: int) -> list[int]:
    """Sizes that a group of `world_size` may shrink to, falling: those that share a batch equally."""
    return [size for size in range(world_size, 0, -1) if batch_size % size == 0]
