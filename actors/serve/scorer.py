"""The reward model behind the service; Serve puts creatives of different requests into one batch."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import torch
from ray import serve

from actors.serve.messages import BATCH_WAIT_S
from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward import RewardError, RewardScorer
from caig_rl.serving.progress import ProgressWatch
from caig_rl.types import ImageArray, Product


class Scorer:
    """A Serve deployment."""

    def __init__(self, config: Config) -> None:
        torch.set_num_threads(config.pools.scorer.threads)
        folder = resolve_model_folder(config.reward.model, "reward")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._scorer = RewardScorer.load(folder, getattr(torch, config.reward.dtype)).to(device)
        self._watch = ProgressWatch("the scorer", config.serve.limits.stall_timeout_s, time.monotonic)
        batched: Any = self.score
        batched.set_max_batch_size(config.reward.batch_size)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=BATCH_WAIT_S)
    async def score(self, products: list[Product], views: list[ImageArray]) -> list[tuple[float, float]]:
        """Score in log-odds and predicted CTR of one creative a job; NaN where none could be computed."""
        return await asyncio.to_thread(self._score, products, views)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._watch.check()

    def _score(self, products: list[Product], views: list[ImageArray]) -> list[tuple[float, float]]:
        with self._watch.working():
            scores = self._finite_scores(products, views)
            return [(float(score), float(ctr)) for score, ctr in zip(scores, self._scorer.ctr(scores), strict=True)]

    def _finite_scores(self, products: list[Product], views: list[ImageArray]) -> np.ndarray:
        try:
            return self._scorer.score(products, views, len(views))
        except RewardError:  # one creative without a reward must not cost the others theirs
            if len(views) == 1:
                return np.array([np.nan], dtype=np.float32)
            return np.concatenate([self._finite_scores([product], [view]) for product, view in zip(products, views, strict=True)])
