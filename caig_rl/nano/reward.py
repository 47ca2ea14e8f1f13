"""The embedded reward model and guard: creatives by the initial policy, shown to the world's shoppers, learned from their clicks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caig_rl.config.reward import ClicksConfig, RewardTrainConfig
from caig_rl.config.schema import Config
from caig_rl.data.clicks.groups import encode_png
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import judge_view, policy_view
from caig_rl.learning.pretrain.sft import SftExample
from caig_rl.learning.reward.in_memory import facts_of, train_in_memory
from caig_rl.models.renderer import Renderer
from caig_rl.models.reward.interface import RewardModel
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.models.vllm_engine import PolicyEngine
from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.half import store_in_half
from caig_rl.statistics import pairwise_accuracy
from caig_rl.types import ImageArray, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.logs import by_creative, click_log
from caig_rl.world.products import WorldProducts, unseen_categories

FloatArray = npt.NDArray[np.float64]
IMPRESSIONS = 5000
"""Impressions a creative in the logs."""
FIRST_SEEDS = {"reward": 0, "guard": 1_000_000}
"""Split -> seed of its first product's prompts and noise: the two logs share no noise either."""
HELDOUT_SHARE = VALIDATION_SHARE = 0.1
"""Share of the products kept for held-out accuracy, and as many to choose the best epoch and the prior by."""
PRIOR_IMPRESSIONS = 300.0
"""Weight of a product's own CTR in each creative's posterior, in impressions."""


@dataclass(frozen=True, slots=True)
class LoggedCreatives:
    """Creatives of the initial policy, K a product, at the size the reward model sees."""

    products: list[Product]
    """(N,) product of each creative."""
    views: list[ImageArray]
    """(N,) of (64, 64, 3)."""
    prompts: list[str]


def draw_creatives(
    policy: Path, pipeline: Path, config: Config, split: str, num_products: int, candidates: int, threads: int, progress: Progress
) -> LoggedCreatives:
    """Prompts by the policy in the folder `policy` for the first products of `split`, rendered by the `pipeline`'s and composed as a run
    would."""
    with creative_drawing(policy, pipeline, config, split, num_products, candidates, threads) as drawing:
        return drawing.draw(range(num_products), progress)


@dataclass(frozen=True, slots=True)
class CreativeDrawing:
    """The models that draw creatives, and the products that they draw them for."""

    engine: PolicyEngine
    renderer: Renderer
    config: Config
    source: WorldProducts
    candidates: int
    """Creatives a product."""

    def draw(self, numbers: range, progress: Progress) -> LoggedCreatives:
        """Creatives of the products of these numbers; each depends on its product's number alone."""
        config, out = self.config, LoggedCreatives([], [], [])
        step = config.renderer.batch_size // self.candidates or 1
        for start in range(numbers.start, numbers.stop, step):
            products = self.source.products[start : min(start + step, numbers.stop)]
            seeds = [FIRST_SEEDS[self.source.split] + start + index for index in range(len(products))]
            cutouts = self.source.cutouts([product.product_id for product in products])
            asked = [self.engine.prompt(instruction(Task.PROMPT_GENERATION, p, s)) for p, s in zip(products, seeds, strict=True)]
            views = [policy_view(cutout, config.policy.image_size) for cutout in cutouts]
            prompts = [[rollout.text for rollout in group] for group in self.engine.generate(asked, views, seeds, self.candidates)]
            for product, texts, rendered in zip(products, prompts, self.renderer.render(cutouts, prompts, seeds), strict=True):
                out.products.extend([product] * self.candidates)
                out.prompts.extend(texts)
                out.views.extend(judge_view(one.creative, config.policy.image_size) for one in rendered)
            progress("creatives", start + len(products), len(self.source.products), float("nan"))
        return out


@contextmanager
def creative_drawing(
    policy: Path, pipeline: Path, config: Config, split: str, num_products: int, candidates: int, threads: int
) -> Iterator[CreativeDrawing]:
    """Load both models, for the first `num_products` products of `split`; arguments as `draw_creatives` has them."""
    engine = PolicyEngine(policy, config.policy, threads)
    renderer = Renderer(pipeline, config.renderer, config.imaging, threads)
    unseen = unseen_categories(config.world.seed, config.world.unseen_categories)
    source = WorldProducts(config.world.seed, num_products, split, without=unseen)
    yield CreativeDrawing(engine, renderer, config, source, candidates)
    engine.close()


@dataclass(frozen=True, slots=True)
class ProductSplit:
    """Numbers of products, ascending; each product is in one part."""

    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    """What the best epoch and the prior are chosen by: never what accuracy is reported on."""
    heldout: npt.NDArray[np.int64]


def split_products(count: int, seed: int) -> ProductSplit:
    """A random split of `count` products, at least one in each part. Raises ValueError for fewer than three."""
    if count < 3:
        raise ValueError(f"{count} product(s) with logged creatives; at least 3 are needed: to train on, to stop by and to hold out")
    shuffled = np.random.default_rng(seed).permutation(count)
    heldout, validation = (min(max(round(share * count), 1), count // 3) for share in (HELDOUT_SHARE, VALIDATION_SHARE))
    held, stopping, training = np.split(shuffled, [heldout, heldout + validation])
    return ProductSplit(np.sort(training), np.sort(stopping), np.sort(held))


def logged_counts(creatives: LoggedCreatives, judge: WorldJudge, seed: int, shown: int = IMPRESSIONS) -> tuple[FloatArray, FloatArray]:
    """(impressions, clicks), (N,) each, of the creatives, each `shown` that often to the shoppers of `judge`."""
    return counts_by_segment(creatives, judge, seed, shown)[""]


def counts_by_segment(
    creatives: LoggedCreatives, judge: WorldJudge, seed: int, shown: int = IMPRESSIONS, segments: Sequence[str] = ()
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Segment -> (impressions, clicks), (N,) each, of one log as in `logged_counts`. Everybody's come first, under an empty name."""
    ids = [f"c{index:06d}" for index in range(len(creatives.products))]
    log, found = click_log(judge, creatives.products, creatives.views, ids, shown, seed), {}
    for segment in ("", *segments):
        counts = by_creative(log, segment)
        assert counts.column("creative_id").to_pylist() == ids
        impressions, clicks = (counts.column(name).to_numpy().astype(np.float64) for name in ("impressions", "clicks"))
        found[segment] = impressions, clicks
    return found


def segmented_groups(creatives: LoggedCreatives, counts: Mapping[str, tuple[FloatArray, FloatArray]]) -> dict[str, list[Any]]:
    """`reward_groups` of everybody's counts, then of each segment's, with a column `segment`: P products give P entries for each."""
    members, everybody = _creatives_by_product(creatives), reward_groups(creatives, *counts[""])
    parts = []
    for segment, both in counts.items():
        own = {name: [values[rows] for rows in members.values()] for name, values in zip(("impressions", "clicks"), both, strict=True)}
        parts.append(everybody | own | {"segment": [segment] * len(members)})
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def reward_groups(creatives: LoggedCreatives, impressions: FloatArray, clicks: FloatArray) -> dict[str, list[Any]]:
    """What the reward model is told, in `GROUP_SCHEMA` columns, one entry a product: text, pictures, and what was clicked."""
    members = _creatives_by_product(creatives)
    columns: dict[str, list[Any]] = {
        name: [getattr(product, name) for product in members] for name in ("product_id", "title", "category", "description")
    }
    return columns | {
        "images": [[encode_png(creatives.views[k]) for k in rows] for rows in members.values()],
        "impressions": [impressions[rows] for rows in members.values()],
        "clicks": [clicks[rows] for rows in members.values()],
    }


def _creatives_by_product(creatives: LoggedCreatives) -> dict[Product, list[int]]:
    members: dict[Product, list[int]] = {}
    for index, product in enumerate(creatives.products):
        members.setdefault(product, []).append(index)
    return members


def reading_practice(creatives: LoggedCreatives, seed: int) -> list[SftExample]:
    """The logged creatives with their own prompts as captions, for the backbone to read rendered pictures too. Products whose clicks
    `split_products` keeps from training by `seed` are left out."""
    distinct = list(dict.fromkeys(creatives.products))
    chosen = {distinct[int(index)] for index in split_products(len(distinct), seed).training}
    return [
        SftExample(instruction(Task.CONTENT_UNDERSTANDING, product, index), view, prompt)
        for index, (product, view, prompt) in enumerate(zip(creatives.products, creatives.views, creatives.prompts, strict=True))
        if product in chosen
    ]


def train_nano_reward(
    backbone: Path,
    creatives: LoggedCreatives,
    judge: WorldJudge,
    config: RewardTrainConfig,
    seed: int,
    folder: Path,
    progress: Progress,
    segments: Sequence[str] = (),
) -> dict[str, float]:
    """Write to `folder` a scorer, in half precision, that starts from `backbone`, which already sees scenes, and learns from clicks, by the
    same `Trainer` as `caig-rl reward train`; returns how good it is.

    The metrics are `heldout_accuracy`, `heldout_pairs`, and `ceiling`: the accuracy of the true CTRs on the same noisy labels. With
    `segments` of the shoppers it learns each one's clicks too, and the same metrics of each have its name behind them, after a slash.

    Raises:
        UserError: no epoch ended with a finite loss.
    """
    counts = counts_by_segment(creatives, judge, seed, segments=segments)
    chosen = train_on_clicks(backbone, creatives, counts, config, ClicksConfig(), seed, folder, progress)
    store_in_half(folder)
    scorer = RewardScorer.load(folder)
    metrics: dict[str, float] = {}
    for segment, (impressions, clicks) in counts.items():
        found = heldout_metrics(scorer, creatives, clicks / impressions, chosen, judge, segment)
        metrics |= {f"{name}/{segment}" if segment else name: value for name, value in found.items()}
    return metrics


def train_on_clicks(
    backbone: Path,
    creatives: LoggedCreatives,
    counts: Mapping[str, tuple[FloatArray, FloatArray]],
    config: RewardTrainConfig,
    clicks: ClicksConfig,
    seed: int,
    folder: Path,
    progress: Progress,
) -> Set[str]:
    """Write to `folder` a reward model of `config.form` that learned from `counts`, (impressions, clicks) of the creatives by segment as
    `counts_by_segment` has them; returns the ids of the products that were kept from it.

    Raises:
        UserError: no epoch ended with a finite loss.
    """
    groups, num_products = segmented_groups(_at_size(creatives, config.image_size), counts), len(set(creatives.products))
    split = split_products(num_products, seed)
    training, validation = (
        np.concatenate([part + number * num_products for number in range(len(counts))]) for part in (split.training, split.validation)
    )
    facts = facts_of(groups, training, PRIOR_IMPRESSIONS)
    train_in_memory(
        config,
        clicks,
        facts,
        backbone,
        (groups, training),
        (groups, validation),
        seed,
        folder,
        lambda state: progress("reward", state.epoch, config.epochs, state.validation_loss),
        tuple(segment for segment in counts if segment),
    )
    return {groups["product_id"][int(k)] for k in split.heldout}


def _at_size(creatives: LoggedCreatives, size: int) -> LoggedCreatives:
    views = [view if view.shape[0] == size else judge_view(view, size) for view in creatives.views]
    return LoggedCreatives(creatives.products, views, creatives.prompts)


def heldout_metrics(
    scorer: RewardModel, creatives: LoggedCreatives, ctr: FloatArray, heldout: Set[str], judge: WorldJudge, segment: str = ""
) -> dict[str, float]:
    """How well scores, and true CTRs, order the creatives of the products `heldout` (ids) by their observed `ctr` (N,), in `segment`."""
    rows = [k for k, product in enumerate(creatives.products) if product.product_id in heldout]
    products, views = [creatives.products[k].shown_to(segment) for k in rows], [creatives.views[k] for k in rows]
    observed = ctr[rows]
    names = np.array([product.product_id for product in products])
    truth = np.array([one.ctr for one in judge.judge(products, views)])
    told = (names[:, None] == names[None, :]) & (observed[:, None] != observed[None, :])
    return {
        "heldout_accuracy": pairwise_accuracy(scorer.score(products, views), observed, names),
        "heldout_pairs": int(np.triu(told, k=1).sum()),
        "ceiling": pairwise_accuracy(truth, observed, names),
    }
