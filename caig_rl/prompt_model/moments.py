"""The sums of Bayesian ridge regression, of sparse rows and rewards less their product's mean. Their size is bounded by the columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_SPREAD = 1e-9
"""A column whose sum of squares within products is not above this never varies inside a product: the rewards say nothing of it."""
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class RewardedRows:
    """Rows with their rewards, sorted by product."""

    rows: sparse.csr_array
    """(N, width) features."""
    rewards: FloatArray
    """(N,) log-odds of a click."""
    products: IntArray
    """(N,) 0 to P - 1, ascending. Rows of one product are compared with each other only."""

    @classmethod
    def sorted_by_product(cls, rows: sparse.csr_array, rewards: FloatArray, products: IntArray) -> RewardedRows:
        """Rows in any order; `products` may be any integers. Raises ValueError for unequal lengths or a reward that is not finite."""
        if not rows.shape[0] == len(rewards) == len(products):
            raise ValueError(f"{rows.shape[0]} rows, {len(rewards)} rewards, {len(products)} products")
        if not np.isfinite(rewards).all():
            raise ValueError("a reward is not finite")
        order = np.argsort(products, kind="stable")
        ordered = rows[order]
        # Selecting columns of rows with unsorted or repeated indices gives wrong sums.
        ordered.sum_duplicates()
        return cls(ordered, rewards[order], np.unique(products[order], return_inverse=True)[1].astype(np.int64))

    def chunks(self, columns: IntArray) -> Iterator[tuple[FloatArray, FloatArray, IntArray]]:
        """Dense rows of `columns`, rewards and products, in chunks of whole products; rows and rewards less their product's mean."""
        begin, selected = 0, self.rows[:, columns]
        while begin < len(self.products):
            last = self.products[min(begin + _CHUNK_ROWS, len(self.products)) - 1]
            end = int(np.searchsorted(self.products, last, side="right"))
            products = self.products[begin:end]
            yield _centred(selected[begin:end].toarray(), products), _centred(self.rewards[begin:end, None], products)[:, 0], products
            begin = end


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """All that the rewards say of the weights of D columns. X and y are less their product's mean."""

    gram: FloatArray
    """(D, D) X^T X."""
    cross: FloatArray
    """(D,) X^T y."""
    square: float
    """y^T y."""
    free: int
    """n, rewards less products: the means take one from each product."""

    @classmethod
    def of(cls, data: RewardedRows, columns: IntArray) -> Moments:
        """The sums over all rows, for these columns."""
        gram, cross, square = np.zeros((len(columns), len(columns))), np.zeros(len(columns)), 0.0
        for x, y, _ in data.chunks(columns):
            gram += x.T @ x
            cross += x.T @ y
            square += float(y @ y)
        return cls(gram, cross, square, len(data.rewards) - len(np.unique(data.products)))


def varying_columns(data: RewardedRows, limit: int) -> IntArray:
    """The columns that vary most within products (by their sum of squares there), at most `limit`, ascending."""
    used, places = np.unique(data.rows.indices, return_inverse=True)
    rows = sparse.csr_array((data.rows.data, places, data.rows.indptr), shape=(len(data.rewards), len(used)))
    counts = np.bincount(data.products)
    positions = np.arange(len(data.products))
    sums = sparse.csr_array((np.ones(len(positions)), (data.products, positions)), shape=(len(counts), len(positions))) @ rows
    between = sums.power(2).multiply(1.0 / counts[:, None]).sum(axis=0)
    spread = np.asarray(rows.power(2).sum(axis=0) - between).ravel()
    ranked = np.lexsort((used, -spread))[:limit]
    return np.sort(used[ranked[spread[ranked] > MIN_SPREAD]]).astype(np.int64)


def _centred(values: FloatArray, products: IntArray) -> FloatArray:
    """(N, D) less the mean of each product's rows; `products` ascending."""
    starts = np.flatnonzero(np.diff(products, prepend=-1))
    counts = np.diff(starts, append=len(products))
    centred: FloatArray = values - np.repeat(np.add.reduceat(values, starts, axis=0) / counts[:, None], counts, axis=0)
    return centred
