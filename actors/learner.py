"""The learner group: one Ray actor a rank, all called alike. The controller says when to step, export and save."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import ray
from ray import ObjectRef
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.answers import Pace, from_all_ranks, last_of
from actors.cluster import worker_options
from actors.health import Patience
from actors.journal import pairs_from_table
from actors.weights import CANARY_ANSWER, CANARY_INSTRUCTION, Canary, PackedTensor, PublishedWeights, canary_view, pack, weights_digest
from actors.worker_log import begin_worker_log, with_absolute_root
from caig_rl.config.schema import Config, PoolConfig
from caig_rl.errors import UserError
from caig_rl.learning.engine import free_port, init_group
from caig_rl.learning.preference import PreferenceLearner, RoundMetrics
from caig_rl.learning.regroup import load_at_any_size
from caig_rl.logs import about
from caig_rl.types import PolicyVersion, Rollout
from caig_rl.wording import duration

logger = logging.getLogger(__name__)

COLLECTIVE_TIMEOUT_S = 24 * 3600.0
"""The controller notices a rank that stands still, and forms the group anew; a collective that gave up before would fail the run."""
ViewIndex = Sequence[tuple[int, int]]
"""For each pair, which of the view blocks holds its picture, and at which index."""


class LearnerRank:
    """One rank. Wrapped as a Ray actor by `LearnerGroup`."""

    def __init__(self, config: Config, rank: int) -> None:
        begin_worker_log(config, "learner")
        self._config, self._rank = config, rank
        self._learner: PreferenceLearner | None = None

    def address(self) -> tuple[str, int]:
        """Where the other ranks can meet this one."""
        return ray.util.get_node_ip_address(), free_port()

    def build(self, master: tuple[str, int], world_size: int, total_steps: int) -> Canary:
        """Join the group of `world_size` and load the policy. Returns the canary's question."""
        import torch

        config = self._config
        torch.set_num_threads(config.learner.threads)
        init_group(self._rank, world_size, *master, timeout_s=COLLECTIVE_TIMEOUT_S)
        self._learner = PreferenceLearner(config, self._rank, world_size, total_steps)
        token_ids = self._learner.processor.tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"]
        return Canary(CANARY_INSTRUCTION, canary_view(config.policy.image_size), tuple(token_ids))

    def train(
        self, table: pa.Table, view_blocks: Sequence[ObjectRef], view_index: ViewIndex, negative_rollouts: Sequence[Rollout | None] | None
    ) -> Iterator[int | RoundMetrics]:
        """One round over the pairs of `table`: a count of steps as they are taken, and last the round's metrics."""
        blocks: list[np.ndarray] = ray.get(list(view_blocks))
        views = [blocks[block][index] for block, index in view_index]
        pairs = pairs_from_table(table)
        with about(round=pairs[0].admission.round, admissions=[pair.admission.admission_id for pair in pairs]):
            metrics = yield from self._ranked.train_steps(pairs, views, negative_rollouts)
            logger.info("train: %d pairs, %d steps in %.2f s", metrics.rows, metrics.steps, metrics.seconds)
        yield metrics

    def export(self, canary: Canary) -> tuple[tuple[str, tuple[float, ...]], dict[str, PackedTensor]]:
        """Hash and canary log-probs, and the merged weights (empty on ranks other than 0)."""
        log_probs = self._ranked.token_log_probs(canary.instruction, canary.view, canary.token_ids)
        packed = pack(self._ranked.export_weights())
        return (weights_digest(packed), log_probs), packed

    def save(self, url: str) -> None:
        """Write `learner/` (the checkpoint) and, by rank 0, `policy/` (a Hugging Face folder) under `url`."""
        if "://" not in url:
            self._save_local(Path(url))
            return
        with tempfile.TemporaryDirectory() as staging:
            self._save_local(Path(staging))
            filesystem, base = fsspec.core.url_to_fs(url)
            filesystem.put(f"{staging}/", f"{base}/", recursive=True)

    def load(self, url: str) -> None:
        """Go on from the checkpoint under `url`, whatever the size of the group that wrote it."""
        with tempfile.TemporaryDirectory() as staging, tempfile.TemporaryDirectory() as fetched:
            folder = Path(url) / "learner"
            if "://" in url:
                folder = Path(fetched)
                filesystem, base = fsspec.core.url_to_fs(url)
                filesystem.get(f"{base}/learner/", f"{fetched}/", recursive=True)
            load_at_any_size(self._ranked, folder, Path(staging))

    @property
    def _ranked(self) -> PreferenceLearner:
        assert self._learner is not None, "build comes first"
        return self._learner

    def _save_local(self, folder: Path) -> None:
        (folder / "learner").mkdir(parents=True, exist_ok=True)
        self._ranked.save(folder / "learner")
        self._ranked.export_folder(folder / "policy")


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

    async def start_again(self, total_steps: int) -> None:
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
        self, table: ObjectRef, view_blocks: Sequence[ObjectRef], view_index: ViewIndex, negatives: Sequence[Rollout | None] | None
    ) -> RoundMetrics:
        """A round on all ranks; the metrics are the group's. Raises LearnerLost, as all that follow do."""
        pace = self._pace("train")
        streams = [rank.train.remote(table, list(view_blocks), view_index, negatives) for rank in self._ranks]
        answers = [last_of(stream, partial(pace.moved, rank)) for rank, stream in enumerate(streams)]
        metrics: RoundMetrics = (await from_all_ranks(answers, "train", pace))[0]
        return metrics

    async def publish(self, version: PolicyVersion) -> PublishedWeights:
        """Export the current weights as `version`. The refs belong to the caller and outlive the rank."""
        assert self._canary is not None, "start comes first"
        replies = [rank.export.options(num_returns=2).remote(self._canary) for rank in self._ranks]
        answers = [_resolve(meta) for meta, _ in replies]
        sha256, log_probs = (await from_all_ranks(answers, "export", self._pace("export")))[0]
        return PublishedWeights(version, sha256, self._canary, log_probs, (replies[0][1],))

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
        answers = [_resolve(getattr(rank, method).remote(*arguments)) for rank in self._ranks]
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


async def _resolve(ref: ObjectRef) -> Any:
    return await ref
