"""The unit of rollout: a fixed list of products in a fixed order, one batch a stage, issued again as a whole. Plain: no Ray, no clock.

Every random number derives from the run's seed and the admission's id, so a result does not depend on which worker did what, or when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from caig_rl.types import Admission, Product

EVALUATION_ROUND = -1
"""In place of a round's number, for admissions that are in no record of outcomes."""
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
    SCREENING = 7
    REPLAY = 8
    SEGMENT = 9


def derived_seed(stream: Stream, *parts: int) -> int:
    """A seed in [0, 2**62) made from `parts`, the same on every machine."""
    return int(np.random.default_rng([int(stream), *parts]).integers(_MAX_SEED))


@dataclass(frozen=True, slots=True)
class Shard:
    """Some admissions of one round that travel together."""

    admissions: tuple[Admission, ...]
    products: tuple[Product, ...]
    """`products[i]` is the product of `admissions[i]`, shown to its segment."""

    @property
    def name(self) -> str:
        """For logs: the admission ids it spans."""
        return f"{self.admissions[0].admission_id}-{self.admissions[-1].admission_id}"

    @property
    def is_evaluation(self) -> bool:
        """True where it measures a policy: nothing is learned from it."""
        return self.admissions[0].round == EVALUATION_ROUND

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


def evaluation_shards(products: Sequence[Product], shard_size: int, run_seed: int) -> list[Shard]:
    """The shards of an evaluation, the same for every policy it measures; their admissions are in no record of outcomes."""
    seeds = [derived_seed(Stream.EVALUATION, run_seed, index) for index in range(len(products))]
    return make_shards(products, seeds, EVALUATION_ROUND, 0, shard_size)


def regroup(admissions: Sequence[Admission], products: Mapping[str, Product], round_size: int, shard_size: int) -> list[Shard]:
    """The shards of admissions that a checkpoint held in flight, cut where `admit_round` cut them. `products`: by id."""
    places: dict[tuple[int, int], list[Admission]] = {}
    for admission in admissions:
        place = admission.admission_id % round_size // shard_size
        places.setdefault((admission.round, place), []).append(admission)
    return [Shard(tuple(rows), tuple(products[row.product_id].shown_to(row.segment) for row in rows)) for rows in places.values()]


def make_shards(products: Sequence[Product], seeds: Sequence[int], round_number: int, first_id: int, shard_size: int) -> list[Shard]:
    """Cut `products` into shards of at most `shard_size`, admission ids rising from `first_id`; each for the segment it is shown to."""
    admissions = [
        Admission(first_id + index, round_number, product.product_id, seed, product.segment)
        for index, (product, seed) in enumerate(zip(products, seeds, strict=True))
    ]
    return [
        Shard(tuple(admissions[start : start + shard_size]), tuple(products[start : start + shard_size]))
        for start in range(0, len(admissions), shard_size)
    ]
