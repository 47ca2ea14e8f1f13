"""The prompt model of a run: it is told every scored creative, says what prompts are worth, and says whether it can be trusted.

Its state is a pure function of the rounds it was told, in order: telling them again from the run's ledger gives the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from caig_rl.prompt_model.bayesian_linear import MAX_COLUMNS, Posterior, fit_posterior, leave_product_out
from caig_rl.prompt_model.effects import PromptEffects
from caig_rl.prompt_model.features import PromptFeatures
from caig_rl.prompt_model.heldout import MIN_CORRELATION, MIN_HELD_OUT_REWARDS, HeldOutRecord, HeldOutScore, held_out_score
from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.prompt_model.moments import FloatArray, IntArray, RewardedRows
from caig_rl.segments import EVERYBODY, Shares
from caig_rl.types import Product


@dataclass(frozen=True, slots=True)
class ScoredPrompts:
    """The painted prompts of one product in one round, with their rewards."""

    product: Product
    texts: tuple[str, ...]
    """K prompts."""
    rewards: tuple[float, ...]
    """K rewards in log-odds of a click; NaN where the usability gate refused the creative: the model learns nothing from it."""


@dataclass(slots=True)
class _Told:
    rows: list[sparse.csr_array] = field(default_factory=list)
    rewards: list[FloatArray] = field(default_factory=list)
    products: list[IntArray] = field(default_factory=list)

    def data(self) -> RewardedRows:
        rows = sparse.csr_array(sparse.vstack(self.rows, format="csr"))
        return RewardedRows.sorted_by_product(rows, np.concatenate(self.rewards), np.concatenate(self.products))


class PromptModel:
    """Bayesian linear model of (product, prompt) -> reward. Rewards of one product are compared over all rounds; of one that is shown to
    several segments of shoppers, those for each."""

    def __init__(
        self,
        kinds: ProductKinds,
        min_correlation: float = MIN_CORRELATION,
        max_columns: int = MAX_COLUMNS,
        segments: Shares = EVERYBODY,
    ) -> None:
        """Nothing is known yet.

        Args:
            kinds: of the run's catalog.
            min_correlation: the held-out correlation (Pearson, within products) below which the model is not trusted.
            max_columns: features that carry weight, at most.
            segments: of the shoppers that products are shown to.
        """
        self.kinds, self.min_correlation, self.max_columns, self.segments = kinds, min_correlation, max_columns, segments
        self.features = PromptFeatures()
        self.posterior: Posterior | None = None
        self._told, self._record = _Told(), HeldOutRecord()
        self._numbers: dict[tuple[str, str], int] = {}
        self._score: HeldOutScore | None = None

    def tell(self, groups: Sequence[ScoredPrompts]) -> None:
        """One round's scored creatives, in a fixed order (of admission): predict them first, for the record; then learn from them.

        Raises:
            ValueError: a group with unequal numbers of prompts and rewards, or an infinite reward.
        """
        kept = [_usable(group) for group in groups]
        kept = [group for group in kept if group.texts]
        if not kept:
            return
        rewards, products = np.concatenate([group.rewards for group in kept]), self._product_numbers(kept)
        rows = [self.features.rows(self.kinds.kind(group.product), group.texts, group.product.segment) for group in kept]
        together = sparse.csr_array(sparse.vstack(rows, format="csr"))
        if self.posterior is not None:
            self._record.add(together @ self.posterior.weights(), rewards, products)
        self._told.rows.append(together)
        self._told.rewards.append(rewards)
        self._told.products.append(products)
        self._fit()

    @property
    def score(self) -> HeldOutScore | None:
        """The held-out score of the newest rounds, predicted before they were told. Before there is one, of products left out in turn;
        None while there are too few rewards."""
        return self._score

    @property
    def trusted(self) -> bool:
        """Whether the held-out correlation is known and at least `min_correlation`. Otherwise the caller goes on without the model."""
        return self._score is not None and self._score.pearson >= self.min_correlation

    def effects(self) -> PromptEffects:
        """The most probable effects. Raises ValueError before anything was told."""
        return PromptEffects(self._known().weights(), self.features, self.kinds, self.segments)

    def draw(self, rng: np.random.Generator) -> PromptEffects:
        """Effects drawn from the posterior. Raises ValueError before anything was told."""
        return PromptEffects(self._known().sample(rng), self.features, self.kinds, self.segments)

    def metrics(self) -> Mapping[str, float]:
        """Numbers for the run's metrics; empty before anything was told."""
        if self.posterior is None:
            return {}
        told = sum(len(rewards) for rewards in self._told.rewards)
        numbers = {"creatives": float(told), "columns": float(len(self.posterior.columns))}
        numbers |= {"noise": self.posterior.noise, "prior": self.posterior.prior, "trusted": float(self.trusted)}
        if self._score is not None:
            numbers |= {"held_out_pearson": self._score.pearson, "held_out_spearman": self._score.spearman}
        return numbers

    def _known(self) -> Posterior:
        if self.posterior is None:
            raise ValueError("the prompt model has not been told any scored creative yet")
        return self.posterior

    def _fit(self) -> None:
        data = self._told.data()
        self.posterior = fit_posterior(data, self.max_columns)
        self._score = self._record.score()
        if self._score is None and len(data.rewards) >= MIN_HELD_OUT_REWARDS:
            self._score = held_out_score(leave_product_out(self.posterior, data), data.rewards, data.products)

    def _product_numbers(self, groups: Sequence[_UsablePrompts]) -> IntArray:
        keys = [(group.product.product_id, group.product.segment) for group in groups]
        numbers = [self._numbers.setdefault(key, len(self._numbers)) for key in keys]
        return np.repeat(numbers, [len(group.texts) for group in groups]).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _UsablePrompts:
    product: Product
    texts: tuple[str, ...]
    rewards: FloatArray


def _usable(group: ScoredPrompts) -> _UsablePrompts:
    if len(group.texts) != len(group.rewards):
        raise ValueError(f"{len(group.texts)} prompts and {len(group.rewards)} rewards for product {group.product.product_id!r}")
    if np.isinf(group.rewards).any():
        raise ValueError(f"an infinite reward for product {group.product.product_id!r}")
    kept = [index for index, reward in enumerate(group.rewards) if not np.isnan(reward)]
    return _UsablePrompts(group.product, tuple(group.texts[i] for i in kept), np.array([group.rewards[i] for i in kept], np.float64))
