"""How high the true CTR could be: the best known prompt of each product, through the same renderer.

Chosen under one noise and measured under another, so that a lucky draw does not raise the ceiling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import ray

from actors.rollout.pipeline import RolloutPipeline
from actors.rollout.rolled_out import ShardPoisoned
from actors.rollout.shard import Shard, evaluation_shards
from actors.rollout.short_tasks import judge_creatives, oracle_prompts
from caig_rl.config.schema import Config
from caig_rl.types import Product

logger = logging.getLogger(__name__)

CANDIDATES = 3
"""Prompts tried for each product."""
_CHOOSING_SEED, _MEASURING_SEED = 0xC0, 0xC1


async def measure_ceilings(
    pipeline: RolloutPipeline, config: Config, products: Sequence[Product], source: ray.ObjectRef, judge: ray.ObjectRef
) -> dict[str, float]:
    """True CTR of the best prompt for each of `products`, by product id; empty where the judge knows of no best prompts.

    A product that cannot be painted has no ceiling.

    Args:
        pipeline: its renderer pool paints.
        config: of the run.
        products: the evaluation's.
        source: refers to their ProductSource.
        judge: refers to the Judge, who knows the prompts.
    """
    texts = await oracle_prompts.remote(judge, products, CANDIDATES)
    if not all(texts):
        return {}
    ask = partial(_ctrs, pipeline, config, products, source, judge)
    prompts = {product.product_id: tried for product, tried in zip(products, texts, strict=True)}
    tried = await ask(prompts, _CHOOSING_SEED)
    best = {name: [prompts[name][int(np.argmax(ctrs))]] for name, ctrs in tried.items()}
    measured = await ask(best, _MEASURING_SEED)
    return {name: ctrs[0] for name, ctrs in measured.items()}


async def _ctrs(
    pipeline: RolloutPipeline,
    config: Config,
    products: Sequence[Product],
    source: ray.ObjectRef,
    judge: ray.ObjectRef,
    prompts: Mapping[str, list[str]],
    seed: int,
) -> dict[str, list[float]]:
    """True CTR of every prompt of every product that `prompts` names."""
    asked = [product for product in products if product.product_id in prompts]

    async def one(shard: Shard) -> dict[str, list[float]]:
        try:
            creatives = await pipeline.paint(shard, source, [prompts[product.product_id] for product in shard.products])
        except ShardPoisoned as error:  # the same products are left out of the evaluation, where it finds which
            logger.warning("no ceiling for %s: %s", ", ".join(product.product_id for product in shard.products), error)
            return {}
        judged = await judge_creatives.remote(judge, shard.products, [creatives])
        return {product.product_id: [one.ctr for one in row] for product, row in zip(shard.products, judged, strict=True)}

    parts = await asyncio.gather(*(one(shard) for shard in evaluation_shards(asked, config.rollout.shard_size, seed)))
    return {name: ctrs for part in parts for name, ctrs in part.items()}
