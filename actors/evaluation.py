"""Measures a policy on held-out products through the same pools that train it: every policy under the same seeds and noise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from actors.ceiling import measure_ceiling
from actors.pipeline import RolledOut, RolloutPipeline
from actors.shards import evaluation_shards
from actors.tasks import judge_creatives, write_samples
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.gallery import GalleryEntry, GallerySide
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.types import Judgement, Product


class EvaluationError(UserError):
    """A held-out product for which the policy gave no score: the comparison would not be of the same products."""


@dataclass(frozen=True, slots=True)
class MeasuredPolicy:
    """A policy's evaluation and the gallery's half that shows it."""

    evaluated: EvaluatedPolicy
    gallery: tuple[GallerySide, ...]
    """The first candidate of each gallery product."""

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        one = self.evaluated
        return {
            "product_ids": list(one.product_ids),
            "prompts": [list(texts) for texts in one.prompts],
            "scores": one.scores.tolist(),
            "ctrs": None if one.ctrs is None else one.ctrs.tolist(),
            "relevances": None if one.relevances is None else one.relevances.tolist(),
            "gallery": [side.model_dump(mode="json") for side in self.gallery],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> MeasuredPolicy:
        """What `to_json` wrote."""
        evaluated = EvaluatedPolicy(
            product_ids=tuple(content["product_ids"]),
            prompts=tuple(tuple(texts) for texts in content["prompts"]),
            scores=np.array(content["scores"], dtype=np.float64),
            ctrs=None if content["ctrs"] is None else np.array(content["ctrs"], dtype=np.float64),
            relevances=None if content["relevances"] is None else np.array(content["relevances"], dtype=np.float64),
        )
        return cls(evaluated, tuple(GallerySide.model_validate(side) for side in content["gallery"]))


class Evaluation:
    """What is measured, and how: fixed for a run, so that before and after differ by the policy alone."""

    def __init__(
        self, config: Config, products: Sequence[Product], source: ray.ObjectRef, judge: ray.ObjectRef | None, folder: RunFolder
    ) -> None:
        """`products`: at most `evaluation.products` held-out ones; `source` and `judge` are refs (no judge: None)."""
        self._config, self._source, self._judge, self._folder = config, source, judge, folder
        # A catalog lists like with like: the first rows alone would not speak for it.
        order = np.random.default_rng([config.run.seed, len(products)]).permutation(len(products))
        self.products = [products[int(index)] for index in sorted(order[: config.evaluation.products])]
        self._shards = evaluation_shards(self.products, config.rollout.shard_size, config.run.seed)

    async def measure(self, pipeline: RolloutPipeline, label: str) -> MeasuredPolicy:
        """Roll out, judge, and save the gallery's pictures as `LABEL-INDEX.png`.

        Raises:
            ShardPoisoned: a shard could not be rolled out.
            EvaluationError: a product was refused by the policy, or has no reward.
        """
        parts = await asyncio.gather(*(self._measure_shard(pipeline, index, label) for index in range(len(self._shards))))
        prompts = [texts for part in parts for texts in part.prompts]
        scores = np.array([row for part in parts for row in part.scores], dtype=np.float64)
        judged = [row for part in parts for row in part.judged]
        evaluated = EvaluatedPolicy(
            product_ids=tuple(product.product_id for product in self.products),
            prompts=tuple(prompts),
            scores=scores,
            ctrs=np.array([[one.ctr for one in row] for row in judged]) if judged else None,
            relevances=np.array([[one.relevance for one in row] for row in judged]) if judged else None,
        )
        images = [image for part in parts for image in part.images]
        return MeasuredPolicy(evaluated, tuple(_side(evaluated, index, image) for index, image in enumerate(images)))

    async def ceiling(self, pipeline: RolloutPipeline) -> float | None:
        """Mean true CTR of the best known prompts for the same products; None without a judge, or where the judge knows none."""
        if self._judge is None:
            return None
        return await measure_ceiling(pipeline, self._config, self.products, self._source, self._judge)

    def gallery(self, before: Sequence[GallerySide], after: Sequence[GallerySide]) -> list[GalleryEntry]:
        """The entries of `samples/gallery.json`."""
        return [
            GalleryEntry(product_id=product.product_id, title=product.title, category=product.category, before=first, after=second)
            for product, first, second in zip(self.products, before, after, strict=False)
        ]

    async def _measure_shard(self, pipeline: RolloutPipeline, index: int, label: str) -> _Part:
        rolled = await pipeline.rollout(self._shards[index], self._source, self._config.evaluation.prompts_per_product, score_all=True)
        _check(rolled)
        judged: list[list[Judgement]] = []
        if self._judge is not None:
            judged = await judge_creatives.remote(self._judge, rolled.shard.products, [rolled.creatives])
        start = index * self._config.rollout.shard_size
        shown = range(min(len(rolled.shard.products), max(0, self._config.evaluation.gallery - start)))
        root = self._folder.url.rsplit("/", 1)[0]
        names = [(offset, f"{label}-{start + offset:03d}") for offset in shown]
        images = await write_samples.remote(root, self._folder.name, names, [rolled.creatives]) if names else []
        prompts = [tuple(rollout.text for rollout in group.rollouts) for group in rolled.policy.groups if group is not None]
        return _Part(prompts, rolled.score.scores, judged, images)


@dataclass(frozen=True, slots=True)
class _Part:
    prompts: list[tuple[str, ...]]
    scores: tuple[tuple[float, ...], ...]
    judged: list[list[Judgement]]
    images: list[str]


def _side(evaluated: EvaluatedPolicy, index: int, image: str) -> GallerySide:
    ctr = None if evaluated.ctrs is None else float(evaluated.ctrs[index, 0])
    relevance = None if evaluated.relevances is None else float(evaluated.relevances[index, 0])
    return GallerySide(
        image=image, prompt=evaluated.prompts[index][0], ctr=ctr, relevance=relevance, score=float(evaluated.scores[index, 0])
    )


def _check(rolled: RolledOut) -> None:
    for index, why in {**rolled.policy.refused, **rolled.score.failed}.items():
        raise EvaluationError(f"held-out product {rolled.shard.products[index].product_id!r} cannot be measured: {why}")
