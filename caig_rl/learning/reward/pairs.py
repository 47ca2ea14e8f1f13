"""Labelled same-product pairs of logged creatives, for the reward models that learn from comparisons."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from caig_rl.data.clicks.pairs import OFFICIAL_BAND, SIGNIFICANT_Z, Policy
from caig_rl.data.clicks.shrinkage import estimate_prior_impressions, order_probability, own_ctr, posterior, z_score
from caig_rl.learning.reward.rows import RewardRows

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RewardPairs:
    """M pairs of rows of a `RewardRows`; all arrays are (M,)."""

    first: IntArray
    second: IntArray
    order_probability: FloatArray
    """q: posterior probability that the first's true CTR is the higher."""
    label: FloatArray
    """The order to learn: 1 where the first is the better, 0 where the second is, 0.5 where neither. By the observed CTRs, but under the
    policy "posterior" by q, which may say the opposite where one of them was shown little."""
    z: FloatArray
    weight: FloatArray
    """Weight in the loss, as the pair policy gives it, at most 1."""

    def __len__(self) -> int:
        return len(self.first)

    def where(self, mask: npt.NDArray[np.bool_]) -> RewardPairs:
        """The pairs of `mask` (M,)."""
        return RewardPairs(*(getattr(self, field.name)[mask] for field in fields(self)))


def all_pairs(
    rows: RewardRows,
    products: IntArray,
    prior_impressions: float | None = None,
    most: int | None = None,
    rng: np.random.Generator | None = None,
) -> RewardPairs:
    """Every same-product pair of `products`' rows, weight 1.

    Args:
        rows: of one or more products.
        products: whose pairs are wanted.
        prior_impressions: k, the prior's weight; estimated from these rows where it is not given.
        most: a product with more pairs gives a random selection of this many.
        rng: selects them; None: the same ones each time.
    """
    choice = rng or np.random.default_rng(0)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for product in products:
        members = np.flatnonzero(rows.product_index == product)
        first, second = np.triu_indices(len(members), k=1)
        if most is not None and len(first) > most:
            chosen = np.sort(choice.permutation(len(first))[:most])
            first, second = first[chosen], second[chosen]
        firsts.append(members[first])
        seconds.append(members[second])
    a, b = np.concatenate(firsts), np.concatenate(seconds)
    clicks, shown = rows.clicks.astype(np.float64), rows.impressions.astype(np.float64)
    count = int(rows.product_index.max()) + 1
    inside = np.isin(rows.product_index, products)
    k = prior_impressions or estimate_prior_impressions(clicks[inside], shown[inside], rows.product_index[inside], count)
    own = own_ctr(clicks, shown, rows.product_index, count)[rows.product_index]
    mean, variance = posterior(clicks, shown, own, k)
    ctr = clicks / shown
    label = 0.5 + 0.5 * np.sign(ctr[a] - ctr[b])
    q = order_probability(mean[a], variance[a], mean[b], variance[b])
    return RewardPairs(a, b, q, label, z_score(clicks[a], shown[a], clicks[b], shown[b]), np.ones(len(a)))


def by_policy(pairs: RewardPairs, rows: RewardRows, policy: Policy) -> RewardPairs:
    """The pairs that `policy` keeps, with its weights. As `data.clicks.pairs` does on whole logs."""
    ctr = rows.clicks / rows.impressions
    high, low = np.maximum(ctr[pairs.first], ctr[pairs.second]), np.minimum(ctr[pairs.first], ctr[pairs.second])
    ordered = pairs.label != 0.5
    masks = {
        "all": ordered,
        "official": (low > 0.0) & (high >= OFFICIAL_BAND[0] * low) & (high <= OFFICIAL_BAND[1] * low),
        "significant": np.abs(pairs.z) > SIGNIFICANT_Z,
        "posterior": pairs.order_probability != 0.5,
    }
    if policy == "posterior":
        lean = 2.0 * pairs.order_probability - 1.0
        pairs = replace(pairs, label=0.5 + 0.5 * np.sign(lean), weight=np.abs(lean))
    return pairs.where(masks[policy])


def fit_tau(differences: FloatArray, order_probability: FloatArray) -> float:
    """tau >= 0 of the least mean -q log sigmoid(tau ds) - (1 - q) log sigmoid(-tau ds) over differences ds of scores (M,), q (M,)."""

    def loss(tau: float) -> float:
        scaled = tau * differences
        return float(np.mean(order_probability * np.logaddexp(0.0, -scaled) + (1.0 - order_probability) * np.logaddexp(0.0, scaled)))

    spread = float(np.std(differences)) or 1.0
    found = minimize_scalar(loss, bounds=(0.0, 20.0 / spread), method="bounded")
    return float(found.x)
