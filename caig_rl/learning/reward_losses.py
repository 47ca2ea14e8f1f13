"""The loss of each form of reward model on a batch of logged creatives; its forward pass is a function: a plain module or an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from caig_rl.learning.reward import RewardRows
from caig_rl.learning.reward_pairs import FloatArray, IntArray, RewardPairs
from caig_rl.models.reward_side_by_side import SideBySideReward
from caig_rl.objectives.reward import pairwise_loss, side_by_side_loss, vam_loss
from caig_rl.types import ImageArray

Forward = Callable[[Sequence[str], Sequence[ImageArray]], tuple[torch.Tensor, torch.Tensor]]
"""(texts, pictures) -> the two outputs of the model."""


def side_by_side_batch(
    forward: Forward,
    model: SideBySideReward,
    rows: RewardRows,
    pairs: RewardPairs,
    chosen: IntArray,
    turned: npt.NDArray[np.bool_],
    normalised_ctr: FloatArray,
) -> torch.Tensor:
    """Mean loss of the pairs `chosen` (B,), those of `turned` (B,) shown the other way round; `normalised_ctr` is (N,), one a row."""
    first, second = pairs.first[chosen], pairs.second[chosen]
    left, right = np.where(turned, second, first), np.where(turned, first, second)
    pictures = [model.picture(rows.images[int(a)], rows.images[int(b)]) for a, b in zip(left, right, strict=True)]
    logits, predicted = forward(_texts(rows, left), pictures)
    label = np.where(turned, 1.0 - pairs.label[chosen], pairs.label[chosen])
    true = _tensor(np.stack([normalised_ctr[left], normalised_ctr[right]], axis=1), logits)
    return side_by_side_loss(logits, _tensor(label, logits), predicted, true, _tensor(pairs.weight[chosen], logits))


def cg4ctr_batch(forward: Forward, rows: RewardRows, pairs: RewardPairs, chosen: IntArray) -> torch.Tensor:
    """Mean logistic loss of the score differences of the pairs `chosen` (B,), so that a difference is a log-odds."""
    scores, _ = forward_rows(forward, rows, np.concatenate([pairs.first[chosen], pairs.second[chosen]]))
    first, second = scores.chunk(2)
    return pairwise_loss(first - second, _tensor(pairs.label[chosen], scores), _tensor(pairs.weight[chosen], scores))


def vam_batch(forward: Forward, rows: RewardRows, lists: Sequence[IntArray], ctr: FloatArray) -> torch.Tensor:
    """Mean of VAM's loss over products; `lists` are the rows of each, `ctr` (N,) the smoothed CTR of every row."""
    scores, percent = forward_rows(forward, rows, np.concatenate(lists))
    sizes = [len(members) for members in lists]
    parts = zip(scores.split(sizes), percent.split(sizes), lists, strict=True)
    return torch.stack([vam_loss(one, other, _tensor(ctr[members], one)) for one, other, members in parts]).mean()


def forward_rows(forward: Forward, rows: RewardRows, where: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's two outputs for the rows `where`."""
    return forward(_texts(rows, where), [rows.images[int(index)] for index in where])


def _texts(rows: RewardRows, where: IntArray) -> list[str]:
    return [rows.product_texts[int(product)] for product in rows.product_index[where]]


def _tensor(values: npt.NDArray[np.floating], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values)).float().to(like.device)
