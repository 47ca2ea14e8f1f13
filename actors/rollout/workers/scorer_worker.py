"""The scorer worker: a reward model of any form, the traffic's own true CTR, or the control experiment's coin; and the guard beside it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import ray
import torch

from actors.rollout.shard import Shard, Stream, derived_seed
from actors.rollout.short_tasks import Creatives
from actors.rollout.worker_replies import ScoreReply
from actors.rollout.workers.shard_log import logged
from actors.telemetry.worker_log import begin_worker_log
from caig_rl.config.reward import RewardConfig
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError
from caig_rl.interfaces import Judge
from caig_rl.models.reward.interface import RewardError, RewardModel
from caig_rl.models.reward.loading import configured_guard, configured_reward
from caig_rl.models.reward.true_ctr import TrueCtrReward
from caig_rl.types import Product

logger = logging.getLogger(__name__)

NOT_SCORED = float("nan")
"""In place of a score where the usability gate refused the creative, or no model gave a number."""


def random_scores(seed: int, candidates: int) -> list[float]:
    """The control experiment: standard normal scores from the admission's seed and the candidate's number, blind to the creative."""
    return [float(np.random.default_rng([derived_seed(Stream.REWARD, seed), index]).standard_normal()) for index in range(candidates)]


class ScorerWorker:
    """Wrapped as a Ray actor by the loop."""

    def __init__(self, config: Config, judge: Judge | None = None) -> None:
        """`judge`: for `reward.kind=world`. Raises ConfigError where that needs one."""
        begin_worker_log(config, "scorer")
        torch.set_num_threads(config.pools.scorer.threads)
        self._batch_size = config.reward.batch_size
        self._scorer = _reward_model(config.reward, judge)
        self._guard: RewardModel | None = configured_guard(config.guard, config.reward)

    def ready(self) -> str:
        """The node it runs on, once the model is loaded."""
        return str(ray.get_runtime_context().get_node_id())

    @logged
    def score(self, shard: Shard, creatives: Sequence[ray.ObjectRef], usable: Sequence[Sequence[bool]]) -> tuple[ScoreReply, None]:
        """Score the usable candidates of every product; `creatives[0]` refers to one (K, size, size, 3) block a product.

        The guard scores those of a round that have a reward. Where it has no number, a product lacks that number and nothing else.
        """
        rows = [[NOT_SCORED] * len(row) for row in usable]
        wanted = [(index, candidate) for index, row in enumerate(usable) for candidate, is_usable in enumerate(row) if is_usable]
        guard = None if shard.is_evaluation else self._guard
        # The control experiment looks at no creative.
        blocks: Creatives = ray.get(creatives[0]) if wanted and not (self._scorer is None and guard is None) else []
        failed: dict[int, str] = {}
        if self._scorer is None:
            for index, candidate in wanted:
                rows[index][candidate] = random_scores(shard.admissions[index].seed, candidate + 1)[candidate]
        else:
            failed = self._score_by_model(self._scorer, shard.products, blocks, wanted, rows)
        guarded = () if guard is None else self._score_by_guard(guard, shard.products, blocks, rows)
        return ScoreReply(tuple(tuple(row) for row in rows), failed, guarded), None

    def _score_by_guard(
        self, guard: RewardModel, products: Sequence[Product], blocks: Creatives, rows: Sequence[Sequence[float]]
    ) -> tuple[tuple[float, ...], ...]:
        """Scores of the creatives that have one in `rows`."""
        found = [[NOT_SCORED] * len(row) for row in rows]
        wanted = [(index, candidate) for index, row in enumerate(rows) for candidate, score in enumerate(row) if math.isfinite(score)]
        for index, why in self._score_by_model(guard, products, blocks, wanted, found).items():
            logger.warning("the guard has no score for product %s: %s", products[index].product_id, why)
        return tuple(tuple(row) for row in found)

    def _score_by_model(
        self, scorer: RewardModel, products: Sequence[Product], blocks: Creatives, wanted: list[tuple[int, int]], rows: list[list[float]]
    ) -> dict[int, str]:
        """Fill `rows` at the places `wanted`; returns the products whose scores could not be computed."""
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


def _reward_model(config: RewardConfig, judge: Judge | None) -> RewardModel | None:
    """None for random scores."""
    if config.kind == "random":
        return None
    if config.kind != "world":
        return configured_reward(config)
    if judge is None:
        raise ConfigError("reward.kind=world asks the run's judge, and the run has none")
    return TrueCtrReward(judge)
