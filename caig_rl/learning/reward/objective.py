"""One training objective for every form of reward model, on batches of whole tests: what a training job asks of a form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn
from transformers import AutoModel, AutoProcessor

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.data.clicks.dataset import ClickDataset
from caig_rl.data.clicks.groups import decode_png
from caig_rl.data.clicks.splits import TRAIN
from caig_rl.data.clicks.summary import SUMMARY
from caig_rl.learning.reward.losses import cg4ctr_batch, scorer_batch, side_by_side_batch, vam_batch, vam_ctr
from caig_rl.learning.reward.pairs import RewardPairs, all_pairs, by_policy
from caig_rl.learning.reward.rows import RewardRows
from caig_rl.models.reward.encoders import EncoderReward, EncoderSpec, small_image_encoder, small_text_encoder
from caig_rl.models.reward.loading import TrainedReward, load_reward
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.models.reward.side_by_side import SideBySideReward, SideBySideSpec
from caig_rl.types import Product

INITIAL_TAU = 10.0
"""Of a new scorer; a trained one goes on with its own."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the whole training log says, and a batch alone cannot."""

    rate: float
    """CTR of all training creatives together."""
    mean_clicks: float
    """Clicks a creative."""
    ctr_mean: float
    ctr_std: float
    """Of the creatives' CTRs."""
    prior_impressions: float
    """k, the weight of a product's own CTR in a creative's posterior."""

    @property
    def prior_logit(self) -> float:
        """Log-odds of a click, all creatives together."""
        return float(np.log(self.rate / (1.0 - self.rate)))


def log_facts(data: ClickDataset, folder: str) -> LogFacts:
    """The facts of `data`'s training creatives, each segment's counted apart too; k is what `data pairs` found and wrote to `clicks.json`
    in `folder`."""
    creatives = data.creatives.filter(pc.equal(data.creatives["split"], TRAIN))
    ctr, shown = (creatives[name].to_numpy() for name in ("ctr", "effective_impressions"))
    if data.by_segment is not None:
        trained = data.by_segment.filter(pc.is_in(data.by_segment["product_id"], creatives["product_id"].combine_chunks()))
        # A training file's rows are everybody's and each segment's; what a segment clicked counts in both.
        ctr, shown = (np.concatenate([one, trained[name].to_numpy()]) for one, name in ((ctr, "ctr"), (shown, "effective_impressions")))
    clicks = float((ctr * shown).sum())
    with fsspec.open(f"{folder.rstrip('/')}/{SUMMARY}") as file:
        prior = float(json.load(file)["prior_impressions"])
    # Half a click more keeps the rate of a log without clicks above 0.
    rate = (clicks + 0.5) / (float(shown.sum()) + 1.0)
    return LogFacts(rate, clicks / len(ctr), float(ctr.mean()), float(ctr.std()) or 1.0, prior)


class Trainee(nn.Module):
    """A reward model and the sharpness tau of its pairwise term, under one forward pass, so that an engine may shard both."""

    def __init__(self, model: TrainedReward, tau: float = INITIAL_TAU) -> None:
        """`tau`: what it begins with, above 0."""
        super().__init__()
        self.model = model
        # Only the scorer's loss reads it.
        is_scorer = isinstance(model, RewardScorer)
        self.log_tau = nn.Parameter(torch.tensor([float(np.log(tau))]), requires_grad=is_scorer)

    def forward(self, texts: Sequence[str], pictures: Sequence[Any]) -> tuple[Any, torch.Tensor]:
        """(the model's own answer, tau)."""
        return self.model(texts, pictures), self.log_tau.float().exp()[0]


def new_model(config: RewardTrainConfig, backbone: Path, facts: LogFacts) -> TrainedReward:
    """A model of the configured form, its spec filled in from the log.

    Args:
        config: form, picture size, dtype.
        backbone: checked model folder; where `config.start_from` is set the reward folder it names, which keeps its head.
        facts: of the whole training log.
    """
    dtype = getattr(torch, config.dtype)
    if config.start_from is not None:
        return load_reward(backbone, dtype)
    processor = AutoProcessor.from_pretrained(backbone)
    if config.form in ("vam", "cg4ctr"):
        spec = EncoderSpec(config.form, config.image_size)
        text = (small_text_encoder(len(processor.tokenizer)), processor.tokenizer) if config.form == "cg4ctr" else (None, None)
        return EncoderReward(spec, small_image_encoder(config.image_size), *text).to(dtype)
    body = AutoModel.from_pretrained(backbone, dtype=dtype, use_safetensors=True)
    if config.form == "side_by_side":
        spec_of_two = SideBySideSpec(config.image_size, facts.ctr_mean, facts.ctr_std)
        return SideBySideReward(body, processor, spec_of_two)
    scorer = RewardScorer(body, processor, RewardSpec(config.image_size, facts.prior_logit))
    # A new scorer says nothing of any creative, where random weights would first have to be unlearned.
    nn.init.zeros_(scorer.head.weight)
    return scorer


def rows_of_groups(model: TrainedReward, groups: Mapping[str, Sequence[Any]]) -> RewardRows:
    """A batch of `GROUP_SCHEMA` columns, one entry a test, as rows."""
    texts, segments = [], groups.get("segment", [""] * len(groups["title"]))
    for *product, segment in zip(groups["product_id"], groups["title"], groups["category"], groups["description"], segments, strict=True):
        texts.append(model.text_of(Product(*(str(value) for value in product), segment=str(segment))))
    sizes = [len(images) for images in groups["images"]]
    return RewardRows(
        np.repeat(np.arange(len(sizes)), sizes),
        texts,
        [decode_png(content) for images in groups["images"] for content in images],
        np.concatenate([np.asarray(values) for values in groups["impressions"]]),
        np.concatenate([np.asarray(values) for values in groups["clicks"]]),
    )


def batch_loss(
    engine: Any, model: TrainedReward, rows: RewardRows, facts: LogFacts, config: ClicksConfig, rng: np.random.Generator | None
) -> tuple[torch.Tensor, float]:
    """(mean loss of the batch in the model's own form, what the mean is over: tests, or the weight of pairs).

    Both are 0 where the pair policy keeps none of the batch's pairs.

    Args:
        engine: the `Trainee`, or an engine around it.
        model: the model inside.
        rows: the batch.
        facts: of the whole training log.
        config: `policy` and `max_pairs_per_test` choose the pairs.
        rng: chooses pairs, and turns them round, at random; None: a validation batch, its pairs as they stand and weighted by the
            `posterior` policy.
    """

    def forward(texts: Sequence[str], pictures: Sequence[Any]) -> Any:
        return engine(texts, pictures)[0]

    tests = np.arange(len(rows.product_texts))
    if isinstance(model, RewardScorer):
        return scorer_loss(engine, rows, facts)[0], float(len(tests))
    if model.kind == "vam":
        ctr = vam_ctr(rows, facts.rate)
        return vam_batch(forward, rows, [np.flatnonzero(rows.product_index == test) for test in tests], ctr), float(len(tests))
    every = all_pairs(rows, tests, facts.prior_impressions, config.max_pairs_per_test, rng)
    pairs = by_policy(every, rows, config.policy if rng is not None else "posterior")
    if len(pairs):
        return _pair_loss(forward, model, rows, pairs, facts, rng), float(pairs.weight.sum())
    # The forward pass is taken all the same: under ZeRO 3 the other ranks wait in it.
    return 0.0 * _pair_loss(forward, model, rows, every, facts, rng), 0.0


def scorer_loss(engine: Any, rows: RewardRows, facts: LogFacts) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean loss, (N,) scores in log-odds) of the batch by one forward pass of the scorer in `engine`."""
    scores, tau = engine([rows.product_texts[int(k)] for k in rows.product_index], rows.images)
    return scorer_batch(scores, tau, rows, facts.prior_logit, facts.prior_impressions, max(facts.mean_clicks, 1e-9)), scores


def _pair_loss(
    forward: Any, model: SideBySideReward | EncoderReward, rows: RewardRows, pairs: RewardPairs, facts: LogFacts, rng: Any
) -> torch.Tensor:
    chosen = np.arange(len(pairs))
    if isinstance(model, EncoderReward):
        return cg4ctr_batch(forward, rows, pairs, chosen)
    turned = rng.random(len(pairs)) < 0.5 if rng is not None else np.zeros(len(pairs), dtype=bool)
    normalised = (rows.clicks / rows.impressions - facts.ctr_mean) / facts.ctr_std
    return side_by_side_batch(forward, model, rows, pairs, chosen, turned, normalised)
