"""The loss of each form of reward model on a batch of logged creatives; its forward pass is a function: a plain module or an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from caig_rl.learning.reward.pairs import FloatArray, IntArray, RewardPairs
from caig_rl.learning.reward.rows import RewardRows
from caig_rl.models.reward.side_by_side import SideBySideReward
from caig_rl.objectives.clicks import binomial_loss, fit_intercepts, order_probability, soft_order_loss
from caig_rl.objectives.reward import pairwise_loss, side_by_side_loss, smoothed_ctr, vam_loss
from caig_rl.types import ImageArray

Forward = Callable[[Sequence[str], Sequence[ImageArray]], tuple[torch.Tensor, torch.Tensor]]
"""(texts, pictures) -> the two outputs of the model."""

INTERCEPT_STD = 0.5
"""Spread of the scorer's a_product around the log's own log-odds."""
PAIR_WEIGHT = 1.0
"""Weight of the scorer's pairwise term beside the binomial one."""
VAM_PRIOR_CLICKS = 1.0
"""a of VAM's smoothed CTR; b follows from the CTR of all training creatives."""


def scorer_batch(
    scores: torch.Tensor, tau: torch.Tensor, rows: RewardRows, prior_logit: float, prior_impressions: float, mean_clicks: float
) -> torch.Tensor:
    """Binomial loss a row, in units of `mean_clicks` a row, plus the mean soft order loss of the rows' same-product pairs.

    Args:
        scores: (N,) of all rows, in log-odds, with gradient.
        tau: scalar above 0, with gradient: log-odds of an order, per log-odds of a click.
        rows: the batch, whole products.
        prior_logit: log-odds of a click over the whole log.
        prior_impressions: weight of a product's own CTR in each creative's Beta prior, in impressions.
        mean_clicks: clicks a creative over the whole log, above 0.
    """
    clicks, impressions = torch.from_numpy(rows.clicks).float(), torch.from_numpy(rows.impressions).float()
    products = torch.from_numpy(np.unique(rows.product_index, return_inverse=True)[1]).long()
    intercepts = fit_intercepts(scores.cpu(), clicks, impressions, products, prior_logit, INTERCEPT_STD)
    logits = scores + intercepts[products].to(scores.device)
    loss = binomial_loss(logits, clicks.to(scores.device), impressions.to(scores.device)).mean() / mean_clicks
    first, second = torch.nonzero((products[:, None] == products[None, :]).triu(diagonal=1), as_tuple=True)
    if len(first) == 0:
        return loss
    order = order_probability(clicks, impressions, _product_ctr(clicks, impressions, products), prior_impressions)
    pairs = soft_order_loss(scores[first] - scores[second], order[first, second].to(scores.device), tau.to(scores.device))
    return loss + PAIR_WEIGHT * pairs.mean()


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


def vam_ctr(rows: RewardRows, rate: float) -> FloatArray:
    """(N,) CTRs smoothed towards `rate`, the CTR of all training creatives together: (clicks + a) / (impressions + a / rate)."""
    prior_misses = VAM_PRIOR_CLICKS * (1.0 - rate) / max(rate, 1e-6)
    clicks, shown = torch.from_numpy(rows.clicks).double(), torch.from_numpy(rows.impressions).double()
    return smoothed_ctr(clicks, shown, VAM_PRIOR_CLICKS, prior_misses).numpy()


def forward_rows(forward: Forward, rows: RewardRows, where: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's two outputs for the rows `where`."""
    return forward(_texts(rows, where), [rows.images[int(index)] for index in where])


def _product_ctr(clicks: torch.Tensor, impressions: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """(N,) CTR of each row's product; half a click in 100 impressions keeps it inside (0, 1)."""
    count = int(products.max()) + 1
    shown = torch.zeros(count).index_add(0, products, impressions)
    clicked = torch.zeros(count).index_add(0, products, clicks)
    return ((clicked + 0.5) / (shown + 100.0))[products]


def _texts(rows: RewardRows, where: IntArray) -> list[str]:
    return [rows.product_texts[int(product)] for product in rows.product_index[where]]


def _tensor(values: npt.NDArray[np.floating], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values)).float().to(like.device)
