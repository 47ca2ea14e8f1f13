"""What every reward model answers, whatever its form: scores of creatives, and comparisons of two.

Per-image forms (`scorer`, `vam`, `cg4ctr`, `world`) score each creative alone, K candidates in O(K). Pairwise forms (`side_by_side`,
`judge`) compare two; their scores of K candidates come from all K (K - 1) / 2 comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from caig_rl.types import ImageArray, Product

FloatArray = npt.NDArray[np.float32]
Compare = Callable[[Sequence[Product], Sequence[ImageArray], Sequence[ImageArray]], FloatArray]


class RewardError(RuntimeError):
    """A creative whose reward could not be computed. It is a failure of that creative, never a default number."""

    def __init__(
        self, product_ids: Sequence[str], reason: str = "the reward model gave no finite score", pairs: Sequence[int] = ()
    ) -> None:
        super().__init__(f"{reason} for {len(product_ids)} creative(s) of product(s) {', '.join(list(dict.fromkeys(product_ids))[:5])}")
        self.product_ids = tuple(product_ids)
        self.reason = reason
        self.pairs = tuple(pairs)
        """Of the pairs to compare, the places of those that failed, where these alone did; empty: all of the products' did."""

    def __reduce__(self) -> tuple[type[RewardError], tuple[tuple[str, ...], str, tuple[int, ...]]]:
        return RewardError, (self.product_ids, self.reason, self.pairs)


class RewardModel(Protocol):
    """Any reward model."""

    kind: str
    """Its form: "scorer", "side_by_side", "vam", "cg4ctr", "judge" or "world"."""

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> FloatArray:
        """(N,) scores of `creatives[i]`, (size, size, 3), as ads for `products[i]`, in log-odds; only differences inside a product mean
        anything.

        Raises:
            RewardError: a score could not be computed.
        """

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> FloatArray:
        """(M,) log-odds that `firsts[i]` is clicked more than `seconds[i]` as an ad for `products[i]`; swapping the two turns the sign.

        Raises:
            RewardError: a comparison could not be made.
        """


def check_lengths(products: Sequence[Product], *creatives: Sequence[ImageArray]) -> None:
    """Raise ValueError unless there is one creative (in each list) a product."""
    for images in creatives:
        if len(products) != len(images):
            raise ValueError(f"{len(products)} products for {len(images)} creatives")


def check_finite(values: FloatArray, products: Sequence[Product]) -> FloatArray:
    """`values` (N,) themselves; raises RewardError, naming the products, where one is not finite."""
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        raise RewardError([products[int(index)].product_id for index in broken])
    return values


def scores_from_comparisons(products: Sequence[Product], creatives: Sequence[ImageArray], compare: Compare) -> FloatArray:
    """(N,) scores from all comparisons inside each product, as it is shown to one segment: s_i = (1 / K) sum_j l_ij.

    With l_ij = -l_ji this is the least-squares fit of s_i - s_j to l_ij with mean 0; for two candidates the difference is l_12 itself.
    A product with one creative has nothing to be compared with and scores 0.
    """
    check_lengths(products, creatives)
    groups: dict[tuple[str, str], list[int]] = {}
    for index, product in enumerate(products):
        groups.setdefault((product.product_id, product.segment), []).append(index)
    pairs = [(i, j) for members in groups.values() for place, i in enumerate(members) for j in members[place + 1 :]]
    scores = np.zeros(len(products), dtype=np.float32)
    if not pairs:
        return scores
    log_odds = compare([products[i] for i, _ in pairs], [creatives[i] for i, _ in pairs], [creatives[j] for _, j in pairs])
    for (i, j), value in zip(pairs, log_odds, strict=True):
        size = len(groups[products[i].product_id, products[i].segment])
        scores[i] += value / size
        scores[j] -= value / size
    return scores
