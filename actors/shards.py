"""Which products a round admits, in which order, with which seeds. Plain and deterministic: no Ray, no clock.

The unit of rollout is a shard: a fixed list of admissions in a fixed order, one batch a stage, re-issued whole. Every random number derives
from the run's seed and the admission's id, so a result does not depend on which worker did what, or when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from caig_rl.types import Admission, Product

_MAX_SEED = 2**62
"""Leaves room for the engine, which adds the candidate's number to a 64-bit seed."""


class Stream(IntEnum):
    """What a seed is for: streams of one admission do not overlap."""

    ADMISSION = 1
    POLICY = 2
    NOISE = 3
    REWARD = 4
    CURSOR = 5
    EVALUATION = 6


def derived_seed(stream: Stream, *parts: int) -> int:
    """A seed in [0, 2**62) made from `parts`, the same on every machine."""
    return int(np.random.default_rng([int(stream), *parts]).integers(_MAX_SEED))


@dataclass(frozen=True, slots=True)
class Shard:
    """Some admissions of one round that travel together."""

    admissions: tuple[Admission, ...]
    products: tuple[Product, ...]
    """`products[i]` is the product of `admissions[i]`."""

    @property
    def name(self) -> str:
        """For logs: the admission ids it spans."""
        return f"{self.admissions[0].admission_id}-{self.admissions[-1].admission_id}"

    def facts(self) -> dict[str, object]:
        """What a line of the log says of it."""
        ids = [admission.admission_id for admission in self.admissions]
        return {"round": self.admissions[0].round, "shard": self.name, "admissions": ids}

    def singles(self) -> list[Shard]:
        """A shard of its own for each admission."""
        return [Shard((admission,), (product,)) for admission, product in zip(self.admissions, self.products, strict=True)]

    @classmethod
    def joined(cls, parts: Sequence[Shard]) -> Shard:
        """The admissions of all `parts`, in their order."""
        return cls(tuple(one for part in parts for one in part.admissions), tuple(one for part in parts for one in part.products))

    def seeds(self, stream: Stream) -> list[int]:
        """One seed an admission for `stream`."""
        return [derived_seed(stream, admission.seed) for admission in self.admissions]


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
    products: Sequence[Product], cursor: ProductCursor, round_number: int, first_id: int, count: int, shard_size: int, run_seed: int
) -> list[Shard]:
    """The shards of one round: `count` products from the cursor (all of them where the catalog is smaller), ids from `first_id` up."""
    chosen = [products[index] for index in cursor.take(min(count, len(products)))]
    return make_shards(
        chosen, [derived_seed(Stream.ADMISSION, run_seed, first_id + i) for i in range(len(chosen))], round_number, first_id, shard_size
    )


def evaluation_shards(products: Sequence[Product], shard_size: int, run_seed: int) -> list[Shard]:
    """The shards of an evaluation, the same for every policy it measures; their admissions are in no ledger (round -1)."""
    return make_shards(products, [derived_seed(Stream.EVALUATION, run_seed, index) for index in range(len(products))], -1, 0, shard_size)


def regroup(admissions: Sequence[Admission], products: Mapping[str, Product], round_size: int, shard_size: int) -> list[Shard]:
    """The shards of admissions that a checkpoint held in flight, cut where `admit_round` cut them. `products`: by id."""
    places: dict[tuple[int, int], list[Admission]] = {}
    for admission in admissions:
        place = admission.admission_id % round_size // shard_size
        places.setdefault((admission.round, place), []).append(admission)
    return [Shard(tuple(rows), tuple(products[row.product_id] for row in rows)) for rows in places.values()]


def make_shards(products: Sequence[Product], seeds: Sequence[int], round_number: int, first_id: int, shard_size: int) -> list[Shard]:
    """Cut `products` into shards of at most `shard_size`, admission ids rising from `first_id`."""
    admissions = [
        Admission(first_id + index, round_number, product.product_id, seed)
        for index, (product, seed) in enumerate(zip(products, seeds, strict=True))
    ]
    return [
        Shard(tuple(admissions[start : start + shard_size]), tuple(products[start : start + shard_size]))
        for start in range(0, len(admissions), shard_size)
    ]
