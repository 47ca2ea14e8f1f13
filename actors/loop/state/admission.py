"""Which products a round admits, in which order, with which seeds, for which shoppers. Plain and deterministic: no Ray, no clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.rollout.shard import Shard, Stream, derived_seed, make_shards
from caig_rl.segments import EVERYBODY, Shares, drawn_segment
from caig_rl.types import Product


class ProductCursor:
    """Walks through the products in a shuffled order, without replacement; every pass has its own order."""

    def __init__(self, num_products: int, seed: int, position: int = 0) -> None:
        """`position`: products handed out so far, over all passes (0 at the start of a run, the checkpoint's value on resume)."""
        assert num_products > 0
        self._num_products, self._seed, self.position = num_products, seed, position

    def take(self, count: int) -> list[int]:
        """Indexes of the next `count` products, all different; at most one pass at a time.

        Raises:
            ValueError: more than there are products.
        """
        if count > self._num_products:
            raise ValueError(f"a round of {count} different products from a catalog of {self._num_products}")
        taken: list[int] = []
        while len(taken) < count:
            in_pass, offset = divmod(self.position, self._num_products)
            index = int(self._order(in_pass)[offset])
            self.position += 1
            # Where a round spans two passes, the second may start with a product that the round has already.
            if index not in taken:
                taken.append(index)
        return taken

    def _order(self, number: int) -> np.ndarray:
        return np.random.default_rng([int(Stream.CURSOR), self._seed, number]).permutation(self._num_products)


def admit_round(
    products: Sequence[Product],
    cursor: ProductCursor,
    round_number: int,
    first_id: int,
    count: int,
    shard_size: int,
    run_seed: int,
    segments: Shares = EVERYBODY,
) -> list[Shard]:
    """The shards of one round: `count` products from the cursor (all of them where the catalog is smaller), ids from `first_id` up.

    Each admission is for one of `segments`, drawn by their shares from the run's seed and the admission's id.
    """
    places = cursor.take(min(count, len(products)))
    ids = range(first_id, first_id + len(places))
    shown_to = [drawn_segment(segments, derived_seed(Stream.SEGMENT, run_seed, admission_id)) for admission_id in ids]
    chosen = [products[index].shown_to(segment) for index, segment in zip(places, shown_to, strict=True)]
    seeds = [derived_seed(Stream.ADMISSION, run_seed, admission_id) for admission_id in ids]
    return make_shards(chosen, seeds, round_number, first_id, shard_size)
