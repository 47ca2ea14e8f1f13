"""The reward model behind the service; creatives of different requests are scored in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from actors.serve.messages import NO_VERSION, Scored, ScoreJob
from actors.serve.replica_log import batch_done, begin_replica_log
from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.scorer import RewardError, RewardScorer
from caig_rl.serving.load.stall_detection import StallDetector
from caig_rl.serving.load.versioned_batcher import VersionedBatcher
from caig_rl.types import ImageArray, Product


class Scorer:
    """A Serve deployment."""

    def __init__(self, config: Config) -> None:
        begin_replica_log(config, "scorer")
        torch.set_num_threads(config.pools.scorer.threads)
        folder = resolve_model_folder(config.reward.model, "reward")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._scorer = RewardScorer.load(folder, getattr(torch, config.reward.dtype)).to(device)
        self._stall = StallDetector("the scorer", config.serve.limits.stall_timeout_s, time.monotonic)
        self._batcher: VersionedBatcher[ScoreJob, list[Scored]] = VersionedBatcher(
            self._run, config.reward.batch_size, lambda job: len(job.views)
        )

    async def score(self, job: ScoreJob) -> list[Scored]:
        """One score a creative, in order."""
        return await self._batcher.submit(NO_VERSION, job)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._stall.check()

    def _run(self, _: str, jobs: Sequence[ScoreJob]) -> list[list[Scored]]:
        views = [view for job in jobs for view in job.views]
        with self._stall.working(), batch_done("scored", jobs, len(views)):
            scores = self._finite_scores([job.product for job in jobs for _ in job.views], views)
            scored = iter([Scored(float(score), float(ctr)) for score, ctr in zip(scores, self._scorer.ctr(scores), strict=True)])
            return [[next(scored) for _ in job.views] for job in jobs]

    def _finite_scores(self, products: list[Product], views: list[ImageArray]) -> npt.NDArray[np.float32]:
        try:
            return self._scorer.score(products, views, len(views))
        except RewardError:  # one creative without a reward must not cost the others theirs
            if len(views) == 1:
                return np.array([np.nan], dtype=np.float32)
            return np.concatenate([self._finite_scores([product], [view]) for product, view in zip(products, views, strict=True)])
