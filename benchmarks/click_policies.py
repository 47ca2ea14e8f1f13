"""Which pairs teach most, on real clicks: `python benchmarks/click_policies.py ../shared/data/clicks/upworthy.parquet`.

METHOD, section 2: on real A/B tests of headlines, at equal training size, a linear model learned from the paper's pairs (CTR ratio 1.05 to
1.20) orders held-out pairs worse than one that learned from random pairs, and that one worse than one that learned from significant pairs.
This repeats it with the project's own pipeline, and puts the `posterior` policy beside them.

Tests that fail the sample-ratio check are out. Splits are by product. Features are words and pairs of words of the headline (TF-IDF) and a
few of its style; the model is logistic regression on the difference of two headlines, its L2 strength chosen on validation pairs. Accuracy
is over all held-out pairs with an order, whatever the policy trained on. Intervals are 95 % t-intervals over splits; the splits share
products, so they tell how much the choice of split moves the figure, not what other headlines would give.
"""

from __future__ import annotations

import argparse
import itertools
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

from caig_rl.config.reward import ClicksConfig
from caig_rl.data.clicks.pairs import POLICIES, Policy, label_trust, make_pairs, policy_mask, policy_weights
from caig_rl.data.clicks.pipeline import inspect_log
from caig_rl.statistics import paired_interval, t_interval

BUCKETS = 1 << 16
COMPARED = (
    ("all", "official"),
    ("significant", "all"),
    ("posterior", "all"),
    ("posterior, every pair", "all, every pair"),
    ("posterior, every pair", "significant, every pair"),
)
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""L2 penalties, on the sum of losses."""


@dataclass(frozen=True)
class Data:
    """Pairs of one split of products: differences of features (M, F), and what is known of each pair."""

    features: sparse.csr_matrix
    pairs: pa.Table

    @property
    def labels(self) -> np.ndarray:
        """(M,) 1 where the first has the higher observed CTR, 0 where the second, NaN where they are equal."""
        return self.pairs["label"].to_numpy(zero_copy_only=False).astype(float)


def main() -> None:
    """Measure every policy on every split and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    arguments = parser.parse_args()
    results: dict[str, list[float]] = {}
    for seed in range(arguments.splits):
        for name, value in _one_split(arguments.log, seed).items():
            results.setdefault(name, []).append(value)
    size = int(np.mean(results.pop("size")))
    print(f"{arguments.splits} splits by product; about {size:,} training pairs for each policy, and all of them where it says so")
    for name, values in results.items():
        low, high = t_interval(values)
        print(f"{name:34s} {np.mean(values):6.1%}   95 % interval {low:.1%} to {high:.1%}")
    for better, worse in COMPARED:
        low, high = paired_interval(results[worse], results[better])
        print(f"{better} - {worse}: {np.mean(results[better]) - np.mean(results[worse]):+.1%} ({low:+.1%} to {high:+.1%})")


def _one_split(log: Path, seed: int) -> dict[str, float]:
    config = ClicksConfig(
        path=str(log),
        columns={"product": "clickability_test_id", "creative": "headline"},
        rows_are_arms=True,
        validation_share=0.15,
        heldout_share=0.25,
    )
    _, creatives = inspect_log(config, seed)
    pairs = pa.concat_tables(make_pairs(creatives, config.max_pairs_per_test, seed))
    splits = pairs["split"].to_numpy()
    training = creatives.filter(pc.equal(creatives["split"], "train"))
    encode = Encoder(sorted(set(training["creative_id"].to_pylist())))
    train, validation, heldout = (_data(pairs.filter(pa.array(splits == name)), encode) for name in ("train", "validation", "heldout"))
    rng = np.random.default_rng(seed)
    size = min(int(policy_mask(train.pairs, policy).sum()) for policy in POLICIES)
    out = {"size": float(size)}
    for policy in POLICIES:
        out[policy] = _accuracy_after(train, validation, heldout, policy, size, rng)
    for policy in POLICIES:
        out[f"{policy}, every pair"] = _accuracy_after(train, validation, heldout, policy, None, rng)
    out["ceiling (true CTRs, estimated)"] = float(np.nanmean(label_trust(heldout.pairs)))
    return out


def _accuracy_after(train: Data, validation: Data, heldout: Data, policy: Policy, size: int | None, rng: np.random.Generator) -> float:
    rows = np.flatnonzero(policy_mask(train.pairs, policy))
    if size is not None:
        rows = rng.permutation(rows)[:size]
    weights = policy_weights(train.pairs, policy)[rows].astype(float)
    # The mean weight is 1 for every policy, so that a penalty means the same to all.
    weights /= weights.mean()
    labels = train.labels[rows] if policy != "posterior" else (train.pairs["order_probability"].to_numpy()[rows] > 0.5).astype(float)
    fits = [fit(train.features[rows], labels, weights, strength) for strength in STRENGTHS]
    best = max(fits, key=lambda found: accuracy(found, validation))
    return accuracy(best, heldout)


class Encoder:
    """Headlines to TF-IDF of hashed words and pairs of words, and a few numbers of style; document frequencies from training texts."""

    def __init__(self, training_texts: list[str]) -> None:
        counts = self._counts(training_texts)
        frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
        self._idf = np.log((1.0 + len(training_texts)) / (1.0 + frequency)) + 1.0
        self._idf[frequency < 2] = 0.0

    def __call__(self, texts: list[str]) -> sparse.csr_matrix:
        """(N, F) features of `texts`, the words' part of length 1."""
        weighted = self._counts(texts).multiply(self._idf).tocsr()
        norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        unit = sparse.diags(1.0 / np.maximum(norms, 1e-9)) @ weighted
        return sparse.hstack([unit, sparse.csr_matrix([_style(text) for text in texts])]).tocsr()

    def _counts(self, texts: list[str]) -> sparse.csr_matrix:
        rows, columns = [], []
        for row, text in enumerate(texts):
            words = re.findall(r"[a-z0-9']+|[?!.:]", text.lower())
            for token in (*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))):
                rows.append(row)
                columns.append(zlib.crc32(token.encode()) % BUCKETS)
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), BUCKETS))


def _style(text: str) -> list[float]:
    words = text.split()
    capitals = sum(word.isupper() and len(word) > 1 for word in words)
    marks = [float(any(c.isdigit() for c in text)), float("?" in text), float(capitals > 0), text.count(".") / 3]
    return [len(text) / 100.0, len(words) / 15.0, *marks]


def _data(pairs: pa.Table, encode: Encoder) -> Data:
    texts = sorted(set(pairs["first"].to_pylist()) | set(pairs["second"].to_pylist()))
    place = {text: index for index, text in enumerate(texts)}
    features = encode(texts)
    first, second = ([place[text] for text in pairs[name].to_pylist()] for name in ("first", "second"))
    return Data(features[first] - features[second], pairs)


def fit(features: sparse.csr_matrix, labels: np.ndarray, weights: np.ndarray, strength: float) -> np.ndarray:
    """(F,) weights of logistic regression without intercept (swapping a pair must turn the answer round), at L2 penalty `strength`."""
    signs = 2.0 * labels - 1.0

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (features @ w)
        gradient = features.T @ (-weights * signs * expit(-margin)) + strength * w
        return float(weights @ np.logaddexp(0.0, -margin) + 0.5 * strength * w @ w), gradient

    return minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def accuracy(w: np.ndarray, data: Data) -> float:
    """Share of the pairs with an order that `w` puts in it; an undecided one counts half."""
    told = ~np.isnan(data.labels)
    scores = (data.features @ w)[told]
    return float(np.mean(np.where(scores == 0.0, 0.5, (scores > 0.0) == (data.labels[told] == 1.0))))


if __name__ == "__main__":
    main()
