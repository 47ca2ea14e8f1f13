"""Regret of the service's choice in the click world: warm-started Thompson sampling against no warm start and against uniform.

    python -m benchmarks.bandit_regret [--seeds 5] [--impressions 100000] [--out build/bandit_regret.json]

Each seed draws products, K scenes for each (drawn directly, not rendered), and visitors of three segments, one impression at a time. All
three ways meet the same products, creatives and visitors. Predictions are those of the embedded reward model; the truth is the world's.
Regret of an impression: true CTR, in the visitor's segment, of the product's best creative minus that of the one that was shown. The
exit code is 1 unless the regret of the service's choice is the lower one against both, paired intervals over the seeds excluding 0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.promises import Promises
from caig_rl.config.schema import ImagingConfig
from caig_rl.config.serve import ServeChoice
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import place
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.serving.choice.bandit import Evidence, choice_probabilities
from caig_rl.statistics import paired_interval
from caig_rl.world.judge import WorldJudge
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import draw_scene
from caig_rl.world.tastes import SEGMENT_SHARES
from caig_rl.world.vocabulary import draw_spec

REFRESH = 20
"""Impressions of one product between two readings of the log, as in the service, where a choice works on counts a second old."""
WAYS = ("warm", "cold", "uniform")


@dataclass(frozen=True)
class Shelf:
    """The creatives of one product."""

    predicted: np.ndarray
    """(K,) CTR by the reward model."""
    truth: np.ndarray
    """(K, segments) true CTR."""


def draw_shelves(scorer: RewardScorer, seed: int, products: int, candidates: int) -> list[Shelf]:
    """Products of the world's evaluation split, other ones for each seed."""
    rng, imaging, judge = np.random.default_rng((seed, 77)), ImagingConfig(size=128), WorldJudge(0)
    source = WorldProducts(0, products * (seed + 1), "eval")
    chosen = source.products[-products:]
    cutouts = source.cutouts([product.product_id for product in chosen])
    shelves = []
    for product, cutout in zip(chosen, cutouts, strict=True):
        placed = place(cutout, imaging, imaging.size)
        creatives = [compose(draw_scene(draw_spec(rng), rng), placed) for _ in range(candidates)]
        scores = scorer.score([product] * candidates, creatives)
        shelves.append(Shelf(scorer.ctr(scores), judge.segment_ctrs([product] * candidates, creatives)))
    return shelves


def run(shelves: list[Shelf], way: str, impressions: int, seed: int) -> np.ndarray:
    """(impressions,) regret of each."""
    visitors, choices = np.random.default_rng((seed, 1)), np.random.default_rng((seed, 2))
    config = ServeChoice()
    segments = visitors.choice(len(SEGMENT_SHARES), size=impressions, p=SEGMENT_SHARES)
    whose = visitors.integers(len(shelves), size=impressions)
    luck = visitors.random(impressions)
    counts = [np.zeros((2, *shelf.truth.shape)) for shelf in shelves]
    known: dict[tuple[int, int], np.ndarray] = {}
    shown = np.zeros(len(shelves), dtype=int)
    regret = np.empty(impressions)
    for number in range(impressions):
        product, segment = int(whose[number]), int(segments[number])
        shelf = shelves[product]
        if shown[product] % REFRESH == 0:
            for other in range(len(SEGMENT_SHARES)):
                known.pop((product, other), None)
        shown[product] += 1
        if (product, segment) not in known:
            known[product, segment] = probabilities(shelf, counts[product], segment, way, config, choices)
        chosen = int(choices.choice(len(shelf.predicted), p=known[product, segment]))
        counts[product][0, chosen, segment] += 1
        counts[product][1, chosen, segment] += luck[number] < shelf.truth[chosen, segment]
        regret[number] = shelf.truth[:, segment].max() - shelf.truth[chosen, segment]
    return regret


def probabilities(shelf: Shelf, counts: np.ndarray, segment: int, way: str, config: ServeChoice, rng: np.random.Generator) -> np.ndarray:
    """How likely each creative is shown."""
    if way == "uniform":
        return np.full(len(shelf.predicted), 1.0 / len(shelf.predicted))
    predicted = shelf.predicted if way == "warm" else np.full(len(shelf.predicted), shelf.predicted.mean())
    own, total = counts[:, :, segment], counts.sum(axis=2)
    evidence = Evidence(predicted, own[0], own[1], total[0] - own[0], total[1] - own[1])
    return choice_probabilities(evidence, config.prior_impressions, config.exploration, rng)


def main(note: Callable[[str], None] = print) -> int:
    """Run all seeds and say the paired intervals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--impressions", type=int, default=100_000)
    parser.add_argument("--products", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("build/bandit_regret.json"))
    given = parser.parse_args()
    torch.set_num_threads(2)
    scorer = RewardScorer.load(resolve_model_folder("nano", "reward"))
    totals: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(given.seeds):
        shelves = draw_shelves(scorer, seed, given.products, given.candidates)
        for way in WAYS:
            totals[way].append(float(run(shelves, way, given.impressions, seed).sum()))
        note(f"seed {seed}: clicks lost in {given.impressions:,} impressions: " + ", ".join(f"{way} {totals[way][-1]:.1f}" for way in WAYS))
    result = {"regret": totals, **{name: getattr(given, name) for name in ("impressions", "products", "candidates")}}
    promises = Promises(note)
    for way, name in (("uniform", "uniform's"), ("cold", "no warm start's")):
        low, high = paired_interval(totals["warm"], totals[way])
        mean = float(np.subtract(totals[way], totals["warm"]).mean())
        result[f"{way}_minus_warm"] = {"mean": mean, "ci95": [low, high]}
        words = f"{mean:.1f} clicks less lost (95 % {low:.1f} to {high:.1f}, {given.seeds} seeds, paired)"
        promises.check(f"regret at {given.impressions:,} impressions below {name}", low > 0.0, words)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    note(f"wrote {given.out}")
    return promises.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
