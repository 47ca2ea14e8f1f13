"""The learner group: one Ray actor a rank, all called alike. The controller says when to step, export and save."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import ray
from ray import ObjectRef
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster import worker_options
from actors.journal import pairs_from_table
from actors.weights import CANARY_ANSWER, CANARY_INSTRUCTION, Canary, PackedTensor, PublishedWeights, canary_view, pack, weights_digest
from caig_rl.config.schema import Config, PoolConfig
from caig_rl.errors import UserError
from caig_rl.learning.engine import free_port, init_group
from caig_rl.learning.preference import PreferenceLearner, RoundMetrics
from caig_rl.types import PolicyVersion, Rollout

ViewIndex = Sequence[tuple[int, int]]
"""For each pair, which of the view blocks holds its picture, and at which index."""


class LearnerRank:
    """One rank. Wrapped as a Ray actor by `LearnerGroup`."""

    def __init__(self, config: Config, rank: int) -> None:
        self._config, self._rank = config, rank
        self._learner: PreferenceLearner | None = None

    def address(self) -> tuple[str, int]:
        """Where the other ranks can meet this one."""
        return ray.util.get_node_ip_address(), free_port()

    def build(self, master: tuple[str, int], total_steps: int) -> Canary:
        """Join the group and load the policy. Returns the canary's question."""
        import torch

        config = self._config
        torch.set_num_threads(config.learner.threads)
        init_group(self._rank, config.learner.world_size, *master)
        self._learner = PreferenceLearner(config, self._rank, config.learner.world_size, total_steps)
        token_ids = self._learner.processor.tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"]
        return Canary(CANARY_INSTRUCTION, canary_view(config.policy.image_size), tuple(token_ids))

    def train(
        self, table: pa.Table, view_blocks: Sequence[ObjectRef], view_index: ViewIndex, negative_rollouts: Sequence[Rollout | None] | None
    ) -> RoundMetrics:
        """One round over the pairs of `table`."""
        blocks: list[np.ndarray] = ray.get(list(view_blocks))
        views = [blocks[block][index] for block, index in view_index]
        return self._ranked.train_round(pairs_from_table(table), views, negative_rollouts)

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
        """Go on from the checkpoint under `url`."""
        if "://" not in url:
            self._ranked.load(Path(url) / "learner")
            return
        with tempfile.TemporaryDirectory() as staging:
            filesystem, base = fsspec.core.url_to_fs(url)
            filesystem.get(f"{base}/learner/", f"{staging}/learner/", recursive=True)
            self._ranked.load(Path(staging) / "learner")

    @property
    def _ranked(self) -> PreferenceLearner:
        assert self._learner is not None, "build comes first"
        return self._learner

    def _save_local(self, folder: Path) -> None:
        (folder / "learner").mkdir(parents=True, exist_ok=True)
        self._ranked.save(folder / "learner")
        self._ranked.export_folder(folder / "policy")


class LearnerGroup:
    """All ranks, in one placement group: they start together or not at all."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ranks: list[Any] = []
        self._placement: PlacementGroup | None = None
        self._canary: Canary | None = None

    async def start(self, total_steps: int) -> None:
        """Reserve the ranks' places, start them, form the group. Raises UserError where the cluster has no room in time."""
        learner = self._config.learner
        pool = PoolConfig(workers=learner.world_size, num_cpus=learner.num_cpus, num_gpus=learner.num_gpus, threads=learner.threads)
        bundle = {"CPU": learner.num_cpus} | ({"GPU": learner.num_gpus} if learner.num_gpus else {})
        labels = [learner.node_labels] * learner.world_size if learner.node_labels else None
        self._placement = placement_group([bundle] * learner.world_size, strategy="PACK", bundle_label_selector=labels)
        timeout = self._config.cluster.start_timeout_s
        try:
            await asyncio.wait_for(_resolve(self._placement.ready()), timeout)
        except TimeoutError:
            total = ray.cluster_resources()
            raise UserError(
                f"waited {timeout:.0f} s for {learner.world_size} learner rank(s) of {bundle}; the cluster has {total.get('CPU', 0):g} CPU "
                f"and {total.get('GPU', 0):g} GPU. Ask for less in learner, add nodes, or raise cluster.start_timeout_s."
            ) from None
        remote = ray.remote(LearnerRank)
        for rank in range(learner.world_size):
            strategy = PlacementGroupSchedulingStrategy(self._placement, placement_group_bundle_index=rank)
            self._ranks.append(remote.options(**worker_options(pool), scheduling_strategy=strategy).remote(self._config, rank))
        master = await self._ranks[0].address.remote()
        self._canary = (await self._call("build", master, total_steps))[0]

    @property
    def ready_ranks(self) -> int:
        """Ranks that have formed the group: none, or all."""
        return len(self._ranks) if self._canary is not None else 0

    async def train(
        self, table: ObjectRef, view_blocks: Sequence[ObjectRef], view_index: ViewIndex, negatives: Sequence[Rollout | None] | None
    ) -> RoundMetrics:
        """A round on all ranks; the metrics are the group's."""
        metrics: RoundMetrics = (await self._call("train", table, list(view_blocks), view_index, negatives))[0]
        return metrics

    async def publish(self, version: PolicyVersion) -> PublishedWeights:
        """Export the current weights as `version`. The refs belong to the caller and outlive the rank."""
        assert self._canary is not None, "start comes first"
        replies = [rank.export.options(num_returns=2).remote(self._canary) for rank in self._ranks]
        sha256, log_probs = (await asyncio.gather(*(_resolve(meta) for meta, _ in replies)))[0]
        return PublishedWeights(version, sha256, self._canary, log_probs, (replies[0][1],))

    async def save(self, url: str) -> None:
        """Write learner checkpoint and policy folder under `url`."""
        await self._call("save", url)

    async def load(self, url: str) -> None:
        """Go on from the checkpoint under `url`. Raises CheckpointError where it does not fit."""
        await self._call("load", url)

    def close(self) -> None:
        """Stop the ranks and give their places back."""
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None

    async def _call(self, method: str, *arguments: Any) -> list[Any]:
        return list(await asyncio.gather(*(_resolve(getattr(rank, method).remote(*arguments)) for rank in self._ranks)))


async def _resolve(ref: ObjectRef) -> Any:
    return await ref
