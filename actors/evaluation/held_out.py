"""Measures a policy on held-out products through the same pools that train it: every policy under the same seeds and noise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import ray
from ray.exceptions import RayError

from actors.evaluation.ctr_ceiling import measure_ceilings
from actors.rollout.pipeline import RolloutPipeline, is_the_machines
from actors.rollout.poison_isolation import roll_out_or_isolate
from actors.rollout.rolled_out import RolledOut
from actors.rollout.shard import Shard, evaluation_shards
from actors.rollout.short_tasks import check_prompts, judge_creatives, write_samples
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.measured_policy import MeasuredPolicy, candidate_picture
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.evaluation.segment_comparison import written_for_each
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.gallery import GalleryEntry, GallerySide
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import Judgement, Product, PromptCheck, RolloutGroup

logger = logging.getLogger(__name__)


_MAX_LOSSES = 5
"""Times that a shard's pictures may go with their node before they are judged."""


class EvaluationError(UserError):
    """Not one held-out product could be measured."""


class Evaluation:
    """What is measured, and how: fixed for a run, so that before and after differ by the policy alone."""

    def __init__(
        self,
        config: Config,
        products: Sequence[Product],
        source: ray.ObjectRef,
        judge: ray.ObjectRef | None,
        folder: RunFolder,
        *,
        every_candidate: bool = False,
        segments: Shares = EVERYBODY,
    ) -> None:
        """`products`: at most `evaluation.products` held-out ones; `source` and `judge` are refs (no judge: None).

        `every_candidate`: save all pictures of the gallery's products, named by `candidate_picture`, and not the first alone.
        `segments`: of shoppers; each product is then asked for and judged for every one, on the same noise, and the gallery takes turns.
        """
        self._config, self._source, self._judge, self._folder = config, source, judge, folder
        self._num_saved = config.evaluation.prompts_per_product if every_candidate else 1
        # A catalog lists like with like: the first rows alone would not speak for it.
        order = np.random.default_rng([config.run.seed, len(products)]).permutation(len(products))
        self.products = [products[int(index)] for index in sorted(order[: config.evaluation.products])]
        self._has_unseen = any(product.unseen_category for product in self.products)
        self._places = {product.product_id: index for index, product in enumerate(self.products)}
        self._segments, size = segments, config.rollout.shard_size
        self._shards = [shard for name in segments or ("",) for shard in evaluation_shards(self._shown_to(name), size, config.run.seed)]

    async def measure(self, pipeline: RolloutPipeline, label: str) -> MeasuredPolicy:
        """Roll out, judge, and save the gallery's pictures as `LABEL-INDEX.png`.

        A product that the policy refuses, that has no reward, or that fails in a stage is left out, with its reason; for whichever segment,
        it is left out of all.

        Raises:
            EvaluationError: no product is left.
        """
        parts = await asyncio.gather(*(self._measure_shard(pipeline, shard, label) for shard in self._shards))
        left_out = {name: why for part in parts for name, why in part.left_out.items()}
        for name, why in left_out.items():
            logger.warning("held-out product %s is left out of the evaluation: %s", name, why)
        rows = [row for part in parts for row in part.rows if row.product.product_id not in left_out]
        if not rows:
            name, why = next(iter(left_out.items()))
            raise EvaluationError(f"none of the {len(left_out)} held-out products can be measured; {name!r}: {why}")
        checks = await check_prompts.remote(self._judge, [row.product for row in rows], [row.prompts for row in rows])
        checked = list(zip(rows, checks, strict=True))
        by_segment = [[one for one in checked if one[0].product.segment == name] for name in self._segments or ("",)]
        evaluated = written_for_each([self._evaluated(part) for part in by_segment], self._segments)
        gallery = {row.product.product_id: _side(row) for row in rows if row.image}
        return MeasuredPolicy(evaluated, gallery, left_out, tuple(row.group for part in by_segment for row, _ in part))

    async def ceilings(self, pipeline: RolloutPipeline) -> dict[str, float]:
        """True CTR of the best known prompts, by product id; empty without a judge, or where the judge knows of none.

        Of segments of shoppers each has best prompts of its own; it counts by its share.
        """
        if self._judge is None:
            return {}
        if not self._segments:
            return await measure_ceilings(pipeline, self._config, self.products, self._source, self._judge)
        found = [await measure_ceilings(pipeline, self._config, self._shown_to(name), self._source, self._judge) for name in self._segments]
        shared = set.intersection(*(set(one) for one in found))
        shares = list(self._segments.values())
        return {name: sum(share * one[name] for share, one in zip(shares, found, strict=True)) for name in found[0] if name in shared}

    def gallery(self, before: MeasuredPolicy, after: MeasuredPolicy) -> list[GalleryEntry]:
        """The entries of `samples/gallery.json`: products that both policies were measured on."""
        return [
            GalleryEntry(
                product_id=product.product_id,
                title=product.title,
                category=product.category,
                segment=self._segment_in_gallery(self._places[product.product_id]),
                before=before.gallery[product.product_id],
                after=after.gallery[product.product_id],
            )
            for product in self.products
            if product.product_id in before.gallery and product.product_id in after.gallery
        ]

    def _shown_to(self, segment: str) -> list[Product]:
        return [product.shown_to(segment) for product in self.products]

    def _segment_in_gallery(self, place: int) -> str:
        """Whom the product at this place of the gallery is shown to; empty: everybody."""
        return list(self._segments)[place % len(self._segments)] if self._segments else ""

    def _evaluated(self, checked: Sequence[tuple[_Row, Sequence[PromptCheck]]]) -> EvaluatedPolicy:
        """Of products that are shown to the same shoppers."""
        rows = [row for row, _ in checked]
        judged = [row.judged for row in rows] if self._judge is not None else None
        known = judged[0][0].segment_ctrs if judged else ()
        return EvaluatedPolicy(
            product_ids=tuple(row.product.product_id for row in rows),
            prompts=tuple(row.prompts for row in rows),
            scores=np.array([row.scores for row in rows], dtype=np.float64),
            ctrs=np.array([[one.ctr for one in row] for row in judged]) if judged else None,
            relevances=np.array([[one.relevance for one in row] for row in judged]) if judged else None,
            checks=tuple(tuple(checks) for _, checks in checked),
            unseen=tuple(row.product.unseen_category for row in rows) if self._has_unseen else (),
            segment_ctrs={name: np.array([[one.segment_ctrs[name] for one in row] for row in judged or ()]) for name in known},
        )

    async def _measure_shard(self, pipeline: RolloutPipeline, shard: Shard, label: str) -> _Part:
        candidates = self._config.evaluation.prompts_per_product
        rollout = partial(pipeline.rollout, source=self._source, candidates=candidates, score_all=True)
        for _ in range(_MAX_LOSSES):
            found = await roll_out_or_isolate(rollout, shard)
            part = _Part([], {product.product_id: str(why) for lost, why in found.failed for product in lost.products})
            try:
                if found.rolled is not None:
                    await self._add_rows(part, found.rolled, label)
                return part
            except RayError as error:
                if not is_the_machines(error):
                    raise
                logger.warning("the pictures of shard %s went with their node before they were judged: %s", shard.name, error)
        raise EvaluationError(f"shard {shard.name} lost its pictures {_MAX_LOSSES} times before they were judged")

    async def _add_rows(self, part: _Part, rolled: RolledOut, label: str) -> None:
        judged: list[list[Judgement]] = [[] for _ in rolled.shard.products]
        if self._judge is not None:
            judged = await judge_creatives.remote(self._judge, rolled.shard.products, [rolled.creatives])
        faults = {**rolled.policy.refused, **rolled.score.failed}
        images = await self._save_gallery(rolled, label, faults)
        for index, (product, group) in enumerate(zip(rolled.shard.products, rolled.policy.groups, strict=True)):
            if index in faults or group is None:
                part.left_out[product.product_id] = faults[index]
                continue
            part.rows.append(_Row(product, group, rolled.score.scores[index], judged[index], images.get(index, "")))

    async def _save_gallery(self, rolled: RolledOut, label: str, faults: Mapping[int, str]) -> dict[int, str]:
        """File names of the pictures of this shard's gallery products, by index in the shard."""
        places = {index: self._places[product.product_id] for index, product in enumerate(rolled.shard.products) if index not in faults}
        first = {
            index: f"{label}-{place:03d}"
            for index, place in places.items()
            if place < self._config.evaluation.gallery and rolled.shard.products[index].segment == self._segment_in_gallery(place)
        }
        if not first:
            return {}
        root = self._folder.url.rsplit("/", 1)[0]
        shown = [(index, one, candidate_picture(name, one)) for index, name in first.items() for one in range(self._num_saved)]
        await write_samples.remote(root, self._folder.name, shown, [rolled.creatives])
        return {index: f"{name}.png" for index, name in first.items()}


@dataclass(frozen=True, slots=True)
class _Row:
    product: Product
    group: RolloutGroup
    scores: tuple[float, ...]
    judged: list[Judgement]
    """Empty without a judge."""
    image: str
    """Empty where the product is not in the gallery."""

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(rollout.text for rollout in self.group.rollouts)


@dataclass(frozen=True, slots=True)
class _Part:
    rows: list[_Row]
    left_out: dict[str, str]


def _side(row: _Row) -> GallerySide:
    judged = row.judged[0] if row.judged else None
    return GallerySide(
        image=row.image,
        prompt=row.prompts[0],
        ctr=None if judged is None else judged.ctr,
        relevance=None if judged is None else judged.relevance,
        score=row.scores[0],
    )
