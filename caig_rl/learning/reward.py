"""Stage B: train the per-image scorer on logged impressions and clicks (METHOD, section 4)."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from caig_rl.models.reward import RewardScorer
from caig_rl.objectives.clicks import binomial_loss, fit_intercepts, order_probability, soft_order_loss
from caig_rl.types import ImageArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RewardRows:
    """Logged creatives: N rows over P products."""

    product_index: npt.NDArray[np.int64]
    """(N,) 0 to P - 1."""
    product_texts: Sequence[str]
    """(P,) `RewardScorer.text_of` each product."""
    images: Sequence[ImageArray]
    """(N,) judge views, (image_size, image_size, 3)."""
    impressions: npt.NDArray[np.int64]
    """(N,) times shown, at least 1."""
    clicks: npt.NDArray[np.int64]
    """(N,) 0 to impressions."""


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """How the scorer is trained."""

    epochs: int = 8
    batch_size: int = 64
    """Rows a step, about: all creatives of a product stay together."""
    lr: float = 1e-3
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    pair_weight: float = 1.0
    """Weight of the pairwise term beside the binomial one."""
    prior_impressions: float = 300.0
    """Weight of the product's own CTR in each creative's Beta prior, in impressions."""
    intercept_std: float = 0.5
    """Spread of a_product around the global prior, in log-odds."""
    heldout_share: float = 0.1
    """Share of products kept for held-out accuracy."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RewardReport:
    """What an epoch came to, on products the training did not see."""

    epoch: int
    train_loss: float
    heldout_loss: float
    heldout_accuracy: float
    """Share of held-out same-product pairs whose observed CTRs the scores put in the right order; pairs with equal CTRs left out."""
    heldout_pairs: int
    tau: float
    prior_logit: float


def train_reward(
    scorer: RewardScorer, rows: RewardRows, settings: RewardSettings, on_epoch: Callable[[RewardReport], None] | None = None
) -> RewardReport:
    """Train `scorer` in place; it ends with the weights and prior of the epoch of the lowest held-out loss, whose report is returned.

    Raises:
        ValueError: fewer than two products, or clicks above impressions.
    """
    if np.any(rows.clicks > rows.impressions) or np.any(rows.impressions < 1):
        raise ValueError("every row needs at least one impression and no more clicks than impressions")
    training, heldout = split_products(rows.product_index, settings)
    scale = float(rows.clicks[np.isin(rows.product_index, training)].mean()) + 1e-9
    log_tau = nn.Parameter(torch.tensor(math.log(10.0)))
    parameters = [*scorer.parameters(), log_tau]
    groups = [{"params": list(scorer.parameters())}, {"params": [log_tau], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
    steps = settings.epochs * sum(1 for _ in product_batches(rows, training, settings, 0))
    # One number for all pairs can move faster than the network without harm.
    rates = [settings.lr, 30.0 * settings.lr]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=max(steps, 2), pct_start=0.1, cycle_momentum=False)
    best: RewardReport | None = None
    best_weights: dict[str, torch.Tensor] = {}
    scorer.spec = dataclasses.replace(scorer.spec, prior_logit=_pooled_logit(rows, training))
    for epoch in range(1, settings.epochs + 1):
        scorer.train()
        losses = []
        for batch in product_batches(rows, training, settings, epoch):
            loss = reward_loss(scorer, rows, batch, log_tau.exp(), settings, scale)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, settings.grad_clip)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        report = _evaluate(scorer, rows, heldout, log_tau, settings, scale, epoch, float(np.mean(losses)))
        logger.info("reward epoch %d: train %.4f, held out %.4f, accuracy %.4f of %d pairs, tau %.1f", *dataclasses.astuple(report)[:6])
        if on_epoch is not None:
            on_epoch(report)
        if best is None or report.heldout_loss < best.heldout_loss:
            best, best_weights = report, {name: value.clone() for name, value in scorer.state_dict().items()}
    assert best is not None
    scorer.load_state_dict(best_weights)
    prior = _fit_prior(scorer, rows, training, settings)
    scorer.spec = dataclasses.replace(scorer.spec, prior_logit=prior, tau=best.tau)
    scorer.eval()
    return dataclasses.replace(best, prior_logit=prior)


def split_products(product_index: npt.NDArray[np.int64], settings: RewardSettings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(training, held out) values of `product_index` (N,), no product in both, at least one in each.

    Raises:
        ValueError: fewer than two products.
    """
    products = np.unique(product_index)
    if len(products) < 2:
        raise ValueError(f"{len(products)} product(s) in the click log; at least 2 are needed, so that one can be held out")
    shuffled = np.random.default_rng(settings.seed).permutation(products)
    count = min(max(round(settings.heldout_share * len(products)), 1), len(products) - 1)
    return np.sort(shuffled[count:]), np.sort(shuffled[:count])


def product_batches(
    rows: RewardRows, products: npt.NDArray[np.int64], settings: RewardSettings, epoch: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Row indices, about `batch_size` a batch, all creatives of a product together, products in an order drawn from seed and epoch."""
    order = np.argsort(rows.product_index, kind="stable")
    starts = np.searchsorted(rows.product_index[order], products, side="left")
    ends = np.searchsorted(rows.product_index[order], products, side="right")
    batch: list[npt.NDArray[np.int64]] = []
    size = 0
    for place in np.random.default_rng([settings.seed, epoch]).permutation(len(products)):
        batch.append(order[starts[place] : ends[place]])
        size += len(batch[-1])
        if size >= settings.batch_size:
            yield np.concatenate(batch)
            batch, size = [], 0
    if batch:
        yield np.concatenate(batch)


def reward_loss(
    scorer: RewardScorer, rows: RewardRows, batch: npt.NDArray[np.int64], tau: torch.Tensor, settings: RewardSettings, scale: float
) -> torch.Tensor:
    """Binomial loss a row, in units of `scale` (mean clicks a row), plus `pair_weight` times the mean soft order loss of its same-product
    pairs."""
    texts = [rows.product_texts[int(product)] for product in rows.product_index[batch]]
    scores = scorer(texts, [rows.images[int(index)] for index in batch])
    clicks = torch.from_numpy(rows.clicks[batch]).float()
    impressions = torch.from_numpy(rows.impressions[batch]).float()
    products = torch.from_numpy(np.unique(rows.product_index[batch], return_inverse=True)[1]).long()
    intercepts = fit_intercepts(scores.cpu(), clicks, impressions, products, scorer.spec.prior_logit, settings.intercept_std)
    logits = scores + intercepts[products].to(scores.device)
    loss = binomial_loss(logits, clicks.to(scores.device), impressions.to(scores.device)).mean() / scale
    first, second = torch.nonzero((products[:, None] == products[None, :]).triu(diagonal=1), as_tuple=True)
    if len(first) == 0:
        return loss
    order = order_probability(clicks, impressions, _product_ctr(clicks, impressions, products), settings.prior_impressions)
    pairs = soft_order_loss(scores[first] - scores[second], order[first, second].to(scores.device), tau.to(scores.device))
    return loss + settings.pair_weight * pairs.mean()


def pair_accuracy(scores: npt.NDArray[np.float32], ctr: npt.NDArray[np.float64], product_index: npt.NDArray[np.int64]) -> tuple[float, int]:
    """(share of same-product pairs in the right order, number of such pairs); pairs of equal CTR are left out, equal scores count half.

    Args:
        scores: (N,) any scale.
        ctr: (N,) observed or true CTRs.
        product_index: (N,).
    """
    right, pairs = 0.0, 0
    for product in np.unique(product_index):
        inside = product_index == product
        truth = np.sign(ctr[inside][:, None] - ctr[inside][None, :])
        guess = np.sign(scores[inside][:, None] - scores[inside][None, :])
        ordered = np.triu(truth != 0, k=1)
        right += float((ordered * (0.5 + 0.5 * truth * guess)).sum())
        pairs += int(ordered.sum())
    return (right / pairs if pairs else math.nan), pairs


def _product_ctr(clicks: torch.Tensor, impressions: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """(N,) CTR of each row's product; half a click in 100 impressions keeps it inside (0, 1)."""
    count = int(products.max()) + 1
    shown = torch.zeros(count).index_add(0, products, impressions)
    clicked = torch.zeros(count).index_add(0, products, clicks)
    return ((clicked + 0.5) / (shown + 100.0))[products]


@torch.no_grad()
def _evaluate(
    scorer: RewardScorer,
    rows: RewardRows,
    heldout: npt.NDArray[np.int64],
    log_tau: nn.Parameter,
    settings: RewardSettings,
    scale: float,
    epoch: int,
    train_loss: float,
) -> RewardReport:
    scorer.eval()
    batches = list(product_batches(rows, heldout, settings, 0))
    loss = float(np.mean([reward_loss(scorer, rows, batch, log_tau.exp(), settings, scale).item() for batch in batches]))
    where = np.concatenate(batches)
    scores = _scores(scorer, rows, where, settings.batch_size)
    accuracy, pairs = pair_accuracy(scores, rows.clicks[where] / rows.impressions[where], rows.product_index[where])
    return RewardReport(epoch, train_loss, loss, accuracy, pairs, float(log_tau.exp()), scorer.spec.prior_logit)


@torch.no_grad()
def _scores(scorer: RewardScorer, rows: RewardRows, where: npt.NDArray[np.int64], batch_size: int) -> npt.NDArray[np.float32]:
    parts = []
    for start in range(0, len(where), batch_size):
        part = where[start : start + batch_size]
        texts = [rows.product_texts[int(product)] for product in rows.product_index[part]]
        parts.append(scorer(texts, [rows.images[int(index)] for index in part]).cpu().numpy())
    return np.concatenate(parts)


def _pooled_logit(rows: RewardRows, products: npt.NDArray[np.int64]) -> float:
    inside = np.isin(rows.product_index, products)
    clicked, shown = float(rows.clicks[inside].sum()) + 0.5, float(rows.impressions[inside].sum()) + 1.0
    return math.log(clicked / (shown - clicked))


def _fit_prior(scorer: RewardScorer, rows: RewardRows, products: npt.NDArray[np.int64], settings: RewardSettings) -> float:
    """The one intercept that fits all training rows together at the final scores."""
    where = np.flatnonzero(np.isin(rows.product_index, products))
    scores = torch.from_numpy(_scores(scorer.eval(), rows, where, settings.batch_size))
    clicks, impressions = torch.from_numpy(rows.clicks[where]), torch.from_numpy(rows.impressions[where])
    together = torch.zeros(len(where), dtype=torch.int64)
    return float(fit_intercepts(scores, clicks, impressions, together, _pooled_logit(rows, products), prior_std=10.0)[0])
