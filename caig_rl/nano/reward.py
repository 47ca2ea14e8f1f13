"""The embedded reward model: creatives drawn by the initial policy, shown to the world's shoppers, learned from their clicks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoModel, AutoProcessor

from caig_rl.config.schema import Config
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import judge_view, policy_view
from caig_rl.learning.reward import RewardRows, RewardSettings, pair_accuracy, split_products, train_reward
from caig_rl.learning.sft import SftExample
from caig_rl.models.engine import PolicyEngine
from caig_rl.models.renderer import Renderer
from caig_rl.models.reward import RewardScorer, RewardSpec
from caig_rl.nano.autoencoder import Progress
from caig_rl.types import ImageArray, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.logs import by_creative, click_log
from caig_rl.world.products import WorldProducts

IMPRESSIONS = 5000
"""Impressions a creative in the logs."""


@dataclass(frozen=True, slots=True)
class LoggedCreatives:
    """Creatives of the initial policy, K a product, at the size the reward model sees."""

    products: list[Product]
    """(N,) product of each creative."""
    views: list[ImageArray]
    """(N,) of (64, 64, 3)."""
    prompts: list[str]


def draw_creatives(
    engine: PolicyEngine, renderer: Renderer, config: Config, num_products: int, candidates: int, progress: Progress
) -> LoggedCreatives:
    """Prompts by the initial policy, rendered and composed as a run would."""
    source = WorldProducts(config.world.seed, num_products, "reward")
    out = LoggedCreatives([], [], [])
    step = config.renderer.batch_size // candidates or 1
    for start in range(0, num_products, step):
        products = list(source.products[start : start + step])
        cutouts = source.cutouts([product.product_id for product in products])
        seeds = list(range(start, start + len(products)))
        asked = [engine.prompt(instruction(Task.PROMPT_GENERATION, p, s)) for p, s in zip(products, seeds, strict=True)]
        views = [policy_view(cutout, config.policy.image_size) for cutout in cutouts]
        prompts = [[rollout.text for rollout in group] for group in engine.generate(asked, views, seeds, candidates)]
        for product, texts, rendered in zip(products, prompts, renderer.render(cutouts, prompts, seeds), strict=True):
            out.products.extend([product] * candidates)
            out.prompts.extend(texts)
            out.views.extend(judge_view(one.creative, config.policy.image_size) for one in rendered)
        progress("creatives", min(start + step, num_products), num_products, float("nan"))
    return out


def reward_rows(creatives: LoggedCreatives, scorer: RewardScorer, world_seed: int, seed: int) -> RewardRows:
    """What the reward model is told of the creatives: their pictures, their products' texts, and what was clicked."""
    ids = [f"c{index:06d}" for index in range(len(creatives.products))]
    counts = by_creative(click_log(WorldJudge(world_seed), creatives.products, creatives.views, ids, IMPRESSIONS, seed))
    assert counts.column("creative_id").to_pylist() == ids
    distinct = list(dict.fromkeys(creatives.products))
    index_of = {product: index for index, product in enumerate(distinct)}
    return RewardRows(
        np.array([index_of[product] for product in creatives.products]),
        [scorer.text_of(product) for product in distinct],
        creatives.views,
        counts.column("impressions").to_numpy(),
        counts.column("clicks").to_numpy(),
    )


def reading_practice(creatives: LoggedCreatives, settings: RewardSettings) -> list[SftExample]:
    """The logged creatives with their own prompts as captions, for the backbone to read rendered pictures too. Products whose clicks
    `settings` holds out are left out."""
    distinct = list(dict.fromkeys(creatives.products))
    training, _ = split_products(np.arange(len(distinct)), settings)
    chosen = {distinct[int(index)] for index in training}
    return [
        SftExample(instruction(Task.CONTENT_UNDERSTANDING, product, index), view, prompt)
        for index, (product, view, prompt) in enumerate(zip(creatives.products, creatives.views, creatives.prompts, strict=True))
        if product in chosen
    ]


def train_nano_reward(
    reader: Path, creatives: LoggedCreatives, world_seed: int, settings: RewardSettings
) -> tuple[RewardScorer, dict[str, float]]:
    """A scorer that starts from `reader`, a backbone that already reads scenes, and learns from clicks; and how good it is.

    The metrics are `heldout_accuracy`, `heldout_pairs`, and `ceiling`: the accuracy of the true CTRs on the same noisy labels.
    """
    scorer = RewardScorer(AutoModel.from_pretrained(reader), AutoProcessor.from_pretrained(reader), RewardSpec(image_size=64))
    rows = reward_rows(creatives, scorer, world_seed, settings.seed)
    report = train_reward(scorer, rows, settings)
    _, heldout = split_products(rows.product_index, settings)
    held = np.isin(rows.product_index, heldout)
    true_ctrs = np.array([one.ctr for one in WorldJudge(world_seed).judge(creatives.products, creatives.views)])
    ceiling, pairs = pair_accuracy(true_ctrs[held].astype(np.float32), rows.clicks[held] / rows.impressions[held], rows.product_index[held])
    return scorer, {"heldout_accuracy": report.heldout_accuracy, "heldout_pairs": pairs, "ceiling": ceiling}
