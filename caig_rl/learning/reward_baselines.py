"""Trains the reward models that are not the scorer: the paper's side-by-side form, VAM and CG4CTR."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from caig_rl.data.clicks.pairs import Policy
from caig_rl.learning.reward import RewardRows
from caig_rl.learning.reward_loop import Epoch, LoopSettings, train_loop
from caig_rl.learning.reward_pairs import IntArray, RewardPairs, all_pairs, by_policy, fit_tau, pair_batches
from caig_rl.models.reward_encoders import EncoderReward
from caig_rl.models.reward_side_by_side import SideBySideReward
from caig_rl.objectives.reward import pairwise_loss, side_by_side_loss, smoothed_ctr, vam_loss

OnEpoch = Callable[[Epoch], None]


def _silent(epoch: Epoch) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class BaselineSettings:
    """How they are trained."""

    loop: LoopSettings = field(default_factory=LoopSettings)
    batch_size: int = 32
    """Pairs a step; for VAM products."""
    policy: Policy = "posterior"
    """Pairs to learn from; VAM learns from whole lists."""
    prior_clicks: float = 1.0
    """a of VAM's smoothed CTR; b follows from the mean CTR of the training creatives."""
    seed: int = 0


def train_side_by_side(
    model: SideBySideReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    on_epoch: OnEpoch = lambda e: None,
) -> Epoch:
    """Train in place on the pairs of products `training`, stop by those of `validation`; `rows.product_texts` are the model's questions.

    Raises:
        ValueError: the policy keeps no pair of the one or the other.
        FloatingPointError: see `train_loop`.
    """
    ctr = rows.clicks / rows.impressions
    inside = np.isin(rows.product_index, training)
    mean, deviation = float(ctr[inside].mean()), float(ctr[inside].std()) or 1.0
    model.spec = dataclasses.replace(model.spec, ctr_mean=mean, ctr_std=deviation)
    normalised = torch.from_numpy((ctr - mean) / deviation).float()

    def loss_of(pairs: RewardPairs, chosen: IntArray, turned: np.ndarray) -> torch.Tensor:
        left, right = (
            np.where(turned, pairs.second[chosen], pairs.first[chosen]),
            np.where(turned, pairs.first[chosen], pairs.second[chosen]),
        )
        texts = [rows.product_texts[int(product)] for product in rows.product_index[left]]
        logits, predicted = model(
            texts, [model.picture(rows.images[int(a)], rows.images[int(b)]) for a, b in zip(left, right, strict=True)]
        )
        label = np.where(turned, 1.0 - pairs.label[chosen], pairs.label[chosen])
        true = torch.stack([normalised[left], normalised[right]], dim=1)
        device = logits.device
        return side_by_side_loss(logits, _tensor(label, device), predicted, true.to(device), _tensor(pairs.weight[chosen], device))

    return _train_on_pairs(model, rows, training, validation, settings, loss_of, on_epoch)


def train_cg4ctr(
    model: EncoderReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    on_epoch: OnEpoch = lambda e: None,
) -> Epoch:
    """Train CG4CTR in place on pairs, logistic loss of the difference of scores, so that a difference is a log-odds (tau = 1).

    Raises:
        ValueError: the policy keeps no pair of the one or the other.
        FloatingPointError: see `train_loop`.
    """

    def loss_of(pairs: RewardPairs, chosen: IntArray, turned: np.ndarray) -> torch.Tensor:
        both = np.concatenate([pairs.first[chosen], pairs.second[chosen]])
        scores, _ = _forward(model, rows, both)
        first, second = scores.chunk(2)
        device = scores.device
        return pairwise_loss(first - second, _tensor(pairs.label[chosen], device), _tensor(pairs.weight[chosen], device))

    return _train_on_pairs(model, rows, training, validation, settings, loss_of, on_epoch)


def train_vam(
    model: EncoderReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    on_epoch: OnEpoch = lambda e: None,
) -> Epoch:
    """Train VAM in place on whole lists; products are drawn with weight log(impressions).

    Raises:
        ValueError: `training` or `validation` holds no product with two creatives.
        FloatingPointError: see `train_loop`.
    """
    lists = {int(product): np.flatnonzero(rows.product_index == product) for product in (*training, *validation)}
    trained, stopping = ([int(p) for p in products if len(lists[int(p)]) > 1] for products in (training, validation))
    if not trained or not stopping:
        raise ValueError(
            f"{len(trained)} products to train on and {len(stopping)} to stop by have two creatives; at least one of each is needed"
        )
    inside = np.isin(rows.product_index, training)
    rate = max(float(rows.clicks[inside].sum() / rows.impressions[inside].sum()), 1e-6)
    misses = settings.prior_clicks * (1.0 - rate) / rate
    ctr = smoothed_ctr(torch.from_numpy(rows.clicks).float(), torch.from_numpy(rows.impressions).float(), settings.prior_clicks, misses)
    shown = np.array([rows.impressions[lists[product]].sum() for product in trained], dtype=np.float64)
    odds = np.log(shown + 1.0) / np.log(shown + 1.0).sum()

    def batches(epoch: int) -> Iterator[list[int]]:
        drawn = np.random.default_rng([settings.seed, epoch]).choice(trained, len(trained), p=odds)
        for start in range(0, len(drawn), settings.batch_size):
            yield drawn[start : start + settings.batch_size].tolist()

    def loss_of(products: list[int]) -> torch.Tensor:
        members = [lists[product] for product in products]
        scores, percent = _forward(model, rows, np.concatenate(members))
        parts = zip(scores.split([len(m) for m in members]), percent.split([len(m) for m in members]), members, strict=True)
        return torch.stack([vam_loss(s, p, ctr[m].to(s.device)) for s, p, m in parts]).mean()

    best = train_loop(model, batches, loss_of, lambda: float(loss_of(stopping)), settings.loop, on_epoch)
    # A list-wise score has a scale of its own; how sure a difference makes an order is read off pairs that it did not train on.
    pairs = all_pairs(rows, validation)
    with torch.no_grad():
        scores = [_forward(model, rows, side)[0].cpu().numpy() for side in (pairs.first, pairs.second)]
    model.spec = dataclasses.replace(model.spec, tau=fit_tau(scores[0] - scores[1], pairs.order_probability))
    return best


def _train_on_pairs(
    model: SideBySideReward | EncoderReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    loss_of: Callable[[RewardPairs, IntArray, np.ndarray], torch.Tensor],
    on_epoch: OnEpoch,
) -> Epoch:
    trained = by_policy(all_pairs(rows, training), rows, settings.policy)
    stopping = by_policy(all_pairs(rows, validation), rows, "posterior")
    if not len(trained) or not len(stopping):
        raise ValueError(f"policy {settings.policy!r} keeps {len(trained)} pairs to train on, and there are {len(stopping)} to stop by")

    def validation_loss() -> float:
        parts = [(loss_of(stopping, *batch), len(batch[0])) for batch in pair_batches(stopping, settings.batch_size, settings.seed, 0)]
        return sum(float(loss) * size for loss, size in parts) / len(stopping)

    return train_loop(
        model,
        lambda epoch: pair_batches(trained, settings.batch_size, settings.seed, epoch),
        lambda batch: loss_of(trained, *batch),
        validation_loss,
        settings.loop,
        on_epoch,
    )


def _forward(model: EncoderReward, rows: RewardRows, where: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
    texts = [rows.product_texts[int(product)] for product in rows.product_index[where]]
    scores, percent = model(texts, [rows.images[int(index)] for index in where])
    return scores, percent


def _tensor(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values)).float().to(device)
