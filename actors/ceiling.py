"""How high the true CTR could be: the best known prompt of each product, through the same renderer.

Chosen under one noise and measured under another, so that a lucky draw does not raise the ceiling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import ray

from actors.pipeline import RolloutPipeline
from actors.shards import Shard, evaluation_shards
from actors.tasks import judge_creatives, oracle_prompts
from caig_rl.config.schema import Config
from caig_rl.types import Product

CANDIDATES = 3
"""Prompts tried for each product."""
_CHOOSING_SEED, _MEASURING_SEED = 0xC0, 0xC1


async def measure_ceiling(
    pipeline: RolloutPipeline, config: Config, products: Sequence[Product], source: ray.ObjectRef, judge: ray.ObjectRef
) -> float | None:
    """Mean true CTR of the best prompts for `products`; None where the judge knows of no best prompts.

    Args:
        pipeline: its renderer pool paints.
        config: of the run.
        products: the evaluation's.
        source: refers to their ProductSource.
        judge: refers to the Judge, who knows the prompts.
    """
    prompts = await oracle_prompts.remote(judge, products, CANDIDATES)
    if not all(prompts):
        return None
    tried = await _ctrs(pipeline, config, products, source, judge, prompts, _CHOOSING_SEED)
    best = [[texts[int(np.argmax(ctrs))]] for texts, ctrs in zip(prompts, tried, strict=True)]
    measured = await _ctrs(pipeline, config, products, source, judge, best, _MEASURING_SEED)
    return float(np.mean([ctrs[0] for ctrs in measured]))


async def _ctrs(
    pipeline: RolloutPipeline,
    config: Config,
    products: Sequence[Product],
    source: ray.ObjectRef,
    judge: ray.ObjectRef,
    prompts: list[list[str]],
    seed: int,
) -> list[list[float]]:
    """True CTR of every prompt of every product."""
    shards = evaluation_shards(list(products), config.rollout.shard_size, seed)

    async def one(shard: Shard, texts: list[list[str]]) -> list[list[float]]:
        creatives = await pipeline.paint(shard, source, texts)
        judged = await judge_creatives.remote(judge, shard.products, [creatives])
        return [[judgement.ctr for judgement in row] for row in judged]

    starts = np.cumsum([0, *(len(shard.products) for shard in shards)])
    parts = [prompts[start : start + len(shard.products)] for start, shard in zip(starts, shards, strict=False)]
    return [row for rows in await asyncio.gather(*(one(*pair) for pair in zip(shards, parts, strict=True))) for row in rows]
