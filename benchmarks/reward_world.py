"""Logs of the click world, drawn, for `reward_tables.py`: what was shown and clicked, and what the true CTRs are."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.data.clicks.shrinkage import estimate_prior_impressions
from caig_rl.learning.reward.pairs import RewardPairs, all_pairs
from caig_rl.learning.reward.rows import RewardRows
from caig_rl.nano.reward import LoggedCreatives, logged_counts
from caig_rl.nano.scenes_data import paste_product
from caig_rl.types import ImageArray, Product
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.vocabulary import caption, draw_spec

WORLD = 0
"""Products and tastes."""


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Measured on one thread of a busy machine, in CPU milliseconds: a creative trained on takes 9.4 (scorer), 2.8 (vam) or 3.4 (cg4ctr), a
    pair side by side 16.5, and 5.8 to score. Table 1's forms on three seeds and table 2 took 168 CPU
    minutes together; reader, logs and judge come to that.
    """

    products: int = 4920
    creatives: int = 3
    validation: int = 70
    heldout: int = 250
    seeing_steps: int = 2000
    pair_seeing_steps: int = 1500
    corpus: int = 24_000
    epochs: int = 3
    """Of the forms that start from the reader; the logs are large, so that more of them teach more than more epochs."""
    small_epochs: int = 5
    """Of VAM and CG4CTR, which start from nothing."""
    pair_epochs: int = 4
    """Of table 2, whose training sets are smaller."""
    most_pairs: int = 2300
    """Of each policy in table 2."""
    judged_pairs: int = 300


TINY = Plan(24, 3, 6, 8, 2, 2, 64, 1, 1, 1, 40, 12)
"""Shows that it runs; its figures mean nothing."""


@dataclass(frozen=True)
class Log:
    """One seed's log at one number of impressions."""

    creatives: LoggedCreatives
    impressions: np.ndarray
    clicks: np.ndarray
    true_ctr: np.ndarray
    splits: dict[str, np.ndarray]
    """Split -> numbers of its products."""

    def rows(self) -> RewardRows:
        """All of it; texts are not needed, pictures neither."""
        per_product = len(self.creatives.products) // sum(len(part) for part in self.splits.values())
        index = np.arange(len(self.creatives.products)) // per_product
        return RewardRows(index, [], [], self.impressions, self.clicks)

    def prior(self) -> float:
        """k, from the training products."""
        rows = self.rows()
        inside = np.isin(rows.product_index, self.splits["train"])
        return estimate_prior_impressions(self.clicks[inside], self.impressions[inside], rows.product_index[inside], len(self.clicks))

    def pairs(self, split: str) -> RewardPairs:
        """Every same-product pair of a split."""
        return all_pairs(self.rows(), self.splits[split], self.prior())


@dataclass(frozen=True)
class Scenes:
    """One seed's creatives, before anybody sees them."""

    creatives: LoggedCreatives
    true_ctr: np.ndarray
    splits: dict[str, np.ndarray]


def draw_scenes(plan: Plan, seed: int) -> Scenes:
    """Products in drawn scenes, what they are worth, and who learns from which."""
    rng = np.random.default_rng((seed, 21))
    source, out = WorldProducts(WORLD, plan.products, "reward"), LoggedCreatives([], [], [])
    for product in source.products:
        (cutout,) = source.cutouts([product.product_id])
        for _ in range(plan.creatives):
            spec = draw_spec(rng)
            out.products.append(product)
            out.views.append(paste_product(draw_scene(spec, rng), cutout, ImagingConfig())[0])
            out.prompts.append(caption(spec))
    truth = np.array([one.ctr for one in WorldJudge(WORLD).judge(out.products, out.views)])
    order = rng.permutation(plan.products)
    heldout, validation, train = np.split(order, [plan.heldout, plan.heldout + plan.validation])
    return Scenes(out, truth, {"train": train, "validation": validation, "heldout": heldout})


def cached_log(out: Path, plan: Plan, seed: int, impressions: int) -> Log:
    """A seed's log at one number of impressions; scenes and splits are the same at any. Drawn once, kept in files of our own."""
    scenes: Scenes = _kept(out / f"scenes-{seed}.pickle", lambda: draw_scenes(plan, seed))
    shown, clicks = _kept(
        out / f"clicks-{seed}-{impressions}.pickle", lambda: logged_counts(scenes.creatives, WorldJudge(WORLD), seed, impressions)
    )
    return Log(scenes.creatives, shown, clicks, scenes.true_ctr, scenes.splits)


def _kept(file: Path, make: Callable[[], Any]) -> Any:
    if not file.exists():
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_bytes(pickle.dumps(make()))
        partial.replace(file)
    return pickle.loads(file.read_bytes())


def accuracy(differences: np.ndarray, labels: np.ndarray) -> float:
    """Share of the pairs with an order (label 1 or 0, not 0.5) that `differences` (M,) put in it; 0 counts half."""
    told = labels != 0.5
    return float(np.mean(1.0 - np.abs(0.5 + 0.5 * np.sign(differences[told]) - labels[told])))


def true_labels(log: Log, pairs: RewardPairs) -> np.ndarray:
    """(M,) as `pairs.label`, by the true CTRs."""
    return 0.5 + 0.5 * np.sign(log.true_ctr[pairs.first] - log.true_ctr[pairs.second])


def sides(log: Log, pairs: RewardPairs) -> tuple[list[Product], list[ImageArray], list[ImageArray]]:
    """Product and both pictures of each pair."""
    views = log.creatives.views
    return (
        [log.creatives.products[int(k)] for k in pairs.first],
        [views[int(k)] for k in pairs.first],
        [views[int(k)] for k in pairs.second],
    )
