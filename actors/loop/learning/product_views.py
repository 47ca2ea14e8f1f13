"""Products' pictures as the policy saw them, loaded again for the learner: they have the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from actors.rollout.short_tasks import load_products
from caig_rl.config.schema import Config


def load_views(config: Config, source: ray.ObjectRef, product_ids: Sequence[str]) -> tuple[list[ray.ObjectRef], list[tuple[int, int]]]:
    """Blocks of pictures, a task of `rollout.shard_size` products each, and for each of `product_ids` its (block, row).

    `source` refers to the ProductSource.
    """
    size = config.rollout.shard_size
    blocks, places = [], []
    for start in range(0, len(product_ids), size):
        ids = list(product_ids[start : start + size])
        blocks.append(load_products.remote(source, ids, config.policy.image_size)[2])
        places += [(len(blocks) - 1, row) for row in range(len(ids))]
    return blocks, places
