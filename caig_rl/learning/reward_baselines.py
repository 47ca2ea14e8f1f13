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
from caig_rl.learning.reward_losses import cg4ctr_batch, forward_rows, side_by_side_batch, vam_batch
from caig_rl.learning.reward_pairs import FloatArray, IntArray, RewardPairs, all_pairs, by_policy, fit_tau, pair_batches
from caig_rl.models.reward_encoders import EncoderReward
from caig_rl.models.reward_side_by_side import SideBySideReward
from caig_rl.objectives.reward import smoothed_ctr

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
    on_epoch: OnEpoch = _silent,
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
    normalised = (ctr - mean) / deviation

    def loss_of(pairs: RewardPairs, chosen: IntArray, turned: np.ndarray) -> torch.Tensor:
        return side_by_side_batch(model, model, rows, pairs, chosen, turned, normalised)

    return _train_on_pairs(model, rows, training, validation, settings, loss_of, on_epoch)


def train_cg4ctr(
    model: EncoderReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    on_epoch: OnEpoch = _silent,
) -> Epoch:
    """Train CG4CTR in place on pairs, logistic loss of the difference of scores, so that a difference is a log-odds (tau = 1).

    Raises:
        ValueError: the policy keeps no pair of the one or the other.
        FloatingPointError: see `train_loop`.
    """

    def loss_of(pairs: RewardPairs, chosen: IntArray, turned: np.ndarray) -> torch.Tensor:
        return cg4ctr_batch(model, rows, pairs, chosen)

    return _train_on_pairs(model, rows, training, validation, settings, loss_of, on_epoch)


def train_vam(
    model: EncoderReward,
    rows: RewardRows,
    training: IntArray,
    validation: IntArray,
    settings: BaselineSettings,
    on_epoch: OnEpoch = _silent,
) -> Epoch:
    """Train VAM in place on whole lists; products are drawn with weight log(impressions).

    Raises:
        ValueError: `training` or `validation` holds no product with two creatives.
        FloatingPointError: see `train_loop`.
    """
    lists = {int(product): np.flatnonzero(rows.product_index == product) for product in (*training, *validation)}
    trained, stopping = ([int(p) for p in products if len(lists[int(p)]) > 1] for products in (training, validation))
    if not trained or not stopping:
        raise ValueError(f"{len(trained)} products to train on and {len(stopping)} to stop by have two creatives; one of each is needed")
    inside = np.isin(rows.product_index, training)
    rate = float(rows.clicks[inside].sum() / rows.impressions[inside].sum())
    ctr = vam_ctr(rows, rate, settings.prior_clicks)
    shown = np.array([rows.impressions[lists[product]].sum() for product in trained], dtype=np.float64)
    odds = np.log(shown + 1.0) / np.log(shown + 1.0).sum()

    def batches(epoch: int) -> Iterator[list[int]]:
        drawn = np.random.default_rng([settings.seed, epoch]).choice(trained, len(trained), p=odds)
        for start in range(0, len(drawn), settings.batch_size):
            yield drawn[start : start + settings.batch_size].tolist()

    def loss_of(products: list[int]) -> torch.Tensor:
        return vam_batch(model, rows, [lists[product] for product in products], ctr)

    def validation_loss() -> float:
        parts = [stopping[start : start + settings.batch_size] for start in range(0, len(stopping), settings.batch_size)]
        return sum(float(loss_of(part)) * len(part) for part in parts) / len(stopping)

    best = train_loop(model, batches, loss_of, validation_loss, settings.loop, on_epoch)
    # A list-wise score has a scale of its own; how sure a difference makes an order is read off pairs that it did not train on.
    pairs = all_pairs(rows, validation)
    scores = np.concatenate([_scores(model, rows, lists[product]) for product in stopping])
    place = {int(row): index for index, row in enumerate(np.concatenate([lists[product] for product in stopping]))}
    first, second = ([place[int(row)] for row in side] for side in (pairs.first, pairs.second))
    model.spec = dataclasses.replace(model.spec, tau=fit_tau(scores[first] - scores[second], pairs.order_probability))
    return best


def vam_ctr(rows: RewardRows, rate: float, prior_clicks: float) -> FloatArray:
    """(N,) CTRs smoothed towards `rate`, the CTR of all training creatives together: (clicks + a) / (impressions + a / rate)."""
    prior_misses = prior_clicks * (1.0 - rate) / max(rate, 1e-6)
    clicks, shown = torch.from_numpy(rows.clicks).double(), torch.from_numpy(rows.impressions).double()
    return smoothed_ctr(clicks, shown, prior_clicks, prior_misses).numpy()


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


@torch.no_grad()
def _scores(model: EncoderReward, rows: RewardRows, where: IntArray) -> FloatArray:
    return forward_rows(model, rows, where)[0].cpu().double().numpy()
