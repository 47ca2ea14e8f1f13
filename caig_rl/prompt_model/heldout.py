"""How well the prompt model predicts rewards that it has not seen: each round is predicted before it is added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_CORRELATION = 0.1
"""Below it the model is switched off. Screened prompts of one product resemble each other, so an honest model stands well below 1."""
MIN_HELD_OUT_REWARDS = 100
"""Fewer rewards say nothing of a correlation: its standard error is 0.1 at a hundred."""
ROUNDS_COUNTED = 2
"""The newest rounds that were predicted ahead count: the policy moves, and so does what is asked of the model."""


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """Agreement of predictions and rewards within products, pooled over products. 1 is perfect, 0 is chance."""

    pearson: float
    """Correlation of both less their product's mean; 0 where either never varies within a product."""
    spearman: float
    """The same of the ranks within each product, ties at their mean rank."""
    num_rewards: int
    """Rewards of products with at least two."""


def held_out_score(predicted: FloatArray, rewards: FloatArray, products: IntArray) -> HeldOutScore:
    """Compare within products.

    Args:
        predicted: (N,) log-odds, on any scale a product.
        rewards: (N,) log-odds of a click.
        products: (N,) any integers, equal for rewards that can be compared.

    Raises:
        ValueError: arrays of unequal length, or a value that is not finite.
    """
    if not len(predicted) == len(rewards) == len(products):
        raise ValueError(f"{len(predicted)} predictions, {len(rewards)} rewards, {len(products)} products")
    if not (np.isfinite(predicted).all() and np.isfinite(rewards).all()):
        raise ValueError("a prediction or a reward is not finite")
    values, ranks, counted = [], [], 0
    for product in np.unique(products):
        rows = products == product
        pair = np.stack([predicted[rows], rewards[rows]])
        ranked = rankdata(pair, axis=1)
        values.append(pair - pair.mean(axis=1, keepdims=True))
        ranks.append(ranked - ranked.mean(axis=1, keepdims=True))
        counted += int(rows.sum()) if rows.sum() > 1 else 0
    return HeldOutScore(_correlation(values), _correlation(ranks), counted)


class HeldOutRecord:
    """The rounds that were predicted ahead, newest last; only `ROUNDS_COUNTED` are kept."""

    def __init__(self) -> None:
        self._rounds: list[tuple[FloatArray, FloatArray, IntArray]] = []

    def add(self, predicted: FloatArray, rewards: FloatArray, products: IntArray) -> None:
        """One round: see `held_out_score`."""
        self._rounds = [*self._rounds, (predicted, rewards, products)][-ROUNDS_COUNTED:]

    def score(self) -> HeldOutScore | None:
        """The score of the rounds that are kept, or None where they hold fewer than `MIN_HELD_OUT_REWARDS`. Rounds are not compared with
        each other."""
        if not self._rounds:
            return None
        parts = [np.concatenate(column) for column in list(zip(*self._rounds, strict=True))[:2]]
        numbers = np.concatenate([np.full(len(part[2]), number) for number, part in enumerate(self._rounds)])
        products = np.concatenate([part[2] for part in self._rounds])
        groups = np.unique(np.stack([numbers, products]), axis=1, return_inverse=True)[1].astype(np.int64)
        score = held_out_score(parts[0], parts[1], groups)
        return score if score.num_rewards >= MIN_HELD_OUT_REWARDS else None


def _correlation(centred: list[FloatArray]) -> float:
    if not centred:
        return 0.0
    first, second = np.concatenate(centred, axis=1)
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 1e-12 else 0.0
