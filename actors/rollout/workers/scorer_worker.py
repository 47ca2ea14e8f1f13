"""The scorer worker: a reward model of any form, or the control experiment's coin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ray
import torch

from actors.rollout.shard import Shard, Stream, derived_seed
from actors.rollout.short_tasks import Creatives
from actors.rollout.worker_replies import ScoreReply
from actors.rollout.workers.shard_log import logged
from actors.telemetry.worker_log import begin_worker_log
from caig_rl.config.schema import Config
from caig_rl.models.reward.interface import RewardError, RewardModel
from caig_rl.models.reward.loading import configured_reward
from caig_rl.types import Product

NOT_SCORED = float("nan")
"""In place of a score where the usability gate refused the creative."""


def random_scores(seed: int, candidates: int) -> list[float]:
    """The control experiment: standard normal scores from the admission's seed and the candidate's number, blind to the creative."""
    return [float(np.random.default_rng([derived_seed(Stream.REWARD, seed), index]).standard_normal()) for index in range(candidates)]


class ScorerWorker:
    """Wrapped as a Ray actor by the loop."""

    def __init__(self, config: Config) -> None:
        begin_worker_log(config, "scorer")
        torch.set_num_threads(config.pools.scorer.threads)
        self._batch_size = config.reward.batch_size
        self._scorer: RewardModel | None = None if config.reward.kind == "random" else configured_reward(config.reward)

    def ready(self) -> str:
        """The node it runs on, once the model is loaded."""
        return str(ray.get_runtime_context().get_node_id())

    @logged
    def score(self, shard: Shard, creatives: Sequence[ray.ObjectRef], usable: Sequence[Sequence[bool]]) -> tuple[ScoreReply, None]:
        """Score the usable candidates of every product; `creatives[0]` refers to one (K, size, size, 3) block a product."""
        rows = [[NOT_SCORED] * len(row) for row in usable]
        wanted = [(index, candidate) for index, row in enumerate(usable) for candidate, is_usable in enumerate(row) if is_usable]
        failed: dict[int, str] = {}
        if self._scorer is None:
            for index, candidate in wanted:
                rows[index][candidate] = random_scores(shard.admissions[index].seed, candidate + 1)[candidate]
        elif wanted:
            blocks: Creatives = ray.get(creatives[0])
            failed = self._score_by_model(self._scorer, shard.products, blocks, wanted, rows)
        return ScoreReply(tuple(tuple(row) for row in rows), failed), None

    def _score_by_model(
        self, scorer: RewardModel, products: Sequence[Product], blocks: Creatives, wanted: list[tuple[int, int]], rows: list[list[float]]
    ) -> dict[int, str]:
        """Fill `rows`; returns the products whose reward could not be computed."""
        failed: dict[int, str] = {}
        while wanted:
            try:
                scores = scorer.score(
                    [products[index] for index, _ in wanted], [blocks[index][candidate] for index, candidate in wanted], self._batch_size
                )
            except RewardError as error:
                failed |= {index: str(error) for index, product in enumerate(products) if product.product_id in error.product_ids}
                wanted = [place for place in wanted if place[0] not in failed]
                continue
            for (index, candidate), score in zip(wanted, scores, strict=True):
                rows[index][candidate] = float(score)
            break
        return failed
