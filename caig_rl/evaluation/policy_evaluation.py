"""Two policies compared on the same products and noise. Input is plain arrays, which the actors produce; nothing is rendered here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

from caig_rl.evaluation.prompt_health import prompt_health
from caig_rl.runs.summary import CtrSummary, PromptHealth, PromptsSummary, RelevanceSummary
from caig_rl.segments import Shares, naming
from caig_rl.statistics import Interval, bootstrap_lift_interval, distinct_share, lift, t_interval, wilson_interval
from caig_rl.types import PromptCheck


@dataclass(frozen=True, slots=True)
class EvaluatedPolicy:
    """What one policy wrote and earned: P held-out products, K prompts each. Raises ValueError on arrays that do not fit together."""

    product_ids: tuple[str, ...]
    """(P,), in the order of the arrays."""
    prompts: tuple[tuple[str, ...], ...]
    """(P, K)."""
    scores: npt.NDArray[np.float64]
    """(P, K) scores by the reward model, log-odds of a click."""
    ctrs: npt.NDArray[np.float64] | None = None
    """(P, K) true click-through rates, fractions of impressions; None where nobody judges."""
    relevances: npt.NDArray[np.float64] | None = None
    """(P, K) relevance, 0-1; None where nobody judges."""
    checks: tuple[tuple[PromptCheck, ...], ...] | None = None
    """(P, K) what was found of each prompt; None in measurements of before prompts were checked."""
    kls: npt.NDArray[np.float64] | None = None
    """(P, K) estimates of KL(policy || initial policy) in nats, one an answer; None where they were not measured."""
    unseen: tuple[bool, ...] = ()
    """(P,) True for products of categories that training does not see; empty where there are none."""
    shares: Shares = field(default_factory=dict)
    """Segments of shoppers, where each was written prompts of its own: the K places are as many for each, segment by segment. A CTR is then
    that of the place's segment, and a mean over places counts each segment by its share. Empty: all were written for everybody."""
    segment_ctrs: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Segment -> (P, K) true click-through rates among its shoppers, of prompts written for everybody; empty where nobody knows."""

    def __post_init__(self) -> None:
        counts = {len(prompts) for prompts in self.prompts}
        if len(self.prompts) != len(self.product_ids) or len(counts) != 1 or counts == {0}:
            raise ValueError(f"{len(self.product_ids)} products need as many rows of equally many prompts, not rows of {sorted(counts)}")
        if (self.ctrs is None) != (self.relevances is None):
            raise ValueError("a judge gives both a CTR and a relevance; only one of them is here")
        for name, values in (("scores", self.scores), ("ctrs", self.ctrs), ("relevances", self.relevances), ("kls", self.kls)):
            if values is not None:
                _check_array(name, values, self.product_ids, len(self.prompts[0]))
        if self.checks is not None and [len(row) for row in self.checks] != [len(row) for row in self.prompts]:
            raise ValueError("every prompt needs a check of its own, in the same place")
        if self.unseen and len(self.unseen) != len(self.product_ids):
            raise ValueError(f"{len(self.unseen)} marks of unseen categories for {len(self.product_ids)} products")
        if self.shares and len(self.prompts[0]) % len(self.shares):
            raise ValueError(f"{len(self.prompts[0])} prompts a product cannot be as many for each of {len(self.shares)} segments")
        for name, values in self.segment_ctrs.items():
            _check_array(f"ctrs of segment {name!r}", values, self.product_ids, len(self.prompts[0]))

    @property
    def num_prompts(self) -> int:
        """Prompts that a shopper could be shown of a product: K, or those for one segment."""
        return len(self.prompts[0]) // (len(self.shares) or 1)

    def places(self, segment: str) -> slice:
        """Which of the K places were written for `segment`; all where they were written for everybody."""
        if not self.shares:
            return slice(None)
        first = list(self.shares).index(segment) * self.num_prompts
        return slice(first, first + self.num_prompts)

    def per_product(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(P,) mean of `values` (P, K) over places, each segment by its share."""
        if not self.shares:
            return np.asarray(values.mean(axis=1))
        weights = np.repeat(list(self.shares.values()), self.num_prompts) / self.num_prompts
        return np.asarray(values @ weights)

    def mean(self, values: npt.NDArray[np.float64]) -> float:
        """Mean of `values` (P, K) over products, and over places as `per_product`."""
        return float(self.per_product(values).mean() if self.shares else values.mean())

    def ctrs_by_segment(self) -> dict[str, npt.NDArray[np.float64]]:
        """Segment -> (P,) mean true CTR among its shoppers of what they are shown; empty where nobody knows segments."""
        if self.shares and self.ctrs is not None:
            return {name: self.ctrs[:, self.places(name)].mean(axis=1) for name in self.shares}
        return {name: values.mean(axis=1) for name, values in self.segment_ctrs.items()}

    def health(self) -> PromptHealth | None:
        """What its prompts are like; None where they were not checked."""
        return None if self.checks is None else prompt_health(self._told_apart(), list(chain.from_iterable(self.checks)))

    def distinct(self) -> float:
        """Distinct prompts over all prompts. The same prompt for two segments counts twice: each is asked apart how much is repeated."""
        return distinct_share(self._told_apart())

    def _told_apart(self) -> list[str]:
        """All P * K prompts, those for a segment with its name behind them."""
        behind = [naming(segment) for segment in self.shares or ("",) for _ in range(self.num_prompts)]
        return [text + name for row in self.prompts for text, name in zip(row, behind, strict=True)]

    def kl(self) -> tuple[float, Interval | None] | None:
        """Mean KL(policy || initial policy) in nats an answer, and its t-interval over products (None for one product).

        None where it was not measured.
        """
        if self.kls is None:
            return None
        by_product = self.per_product(self.kls)
        return float(by_product.mean()), t_interval(by_product) if len(by_product) > 1 else None

    def only(self, product_ids: Collection[str]) -> EvaluatedPolicy:
        """The same for those of `product_ids` that were measured, in this order. Raises ValueError where none was."""
        rows = [index for index, product_id in enumerate(self.product_ids) if product_id in product_ids]
        return EvaluatedPolicy(
            product_ids=tuple(self.product_ids[index] for index in rows),
            prompts=tuple(self.prompts[index] for index in rows),
            scores=self.scores[rows],
            ctrs=None if self.ctrs is None else self.ctrs[rows],
            relevances=None if self.relevances is None else self.relevances[rows],
            checks=None if self.checks is None else tuple(self.checks[index] for index in rows),
            kls=None if self.kls is None else self.kls[rows],
            unseen=tuple(self.unseen[index] for index in rows) if self.unseen else (),
            shares=self.shares,
            segment_ctrs={name: values[rows] for name, values in self.segment_ctrs.items()},
        )

    def first(self, num: int) -> EvaluatedPolicy:
        """The same with the first `num` of each product's prompts, for each segment. Raises ValueError unless 1 <= num <= `num_prompts`."""
        if not 1 <= num <= self.num_prompts:
            raise ValueError(f"there are {self.num_prompts} prompts a product, not {num}")
        kept = [start + index for start in range(0, len(self.prompts[0]), self.num_prompts) for index in range(num)]
        return EvaluatedPolicy(
            product_ids=self.product_ids,
            prompts=tuple(tuple(texts[index] for index in kept) for texts in self.prompts),
            scores=self.scores[:, kept],
            ctrs=None if self.ctrs is None else self.ctrs[:, kept],
            relevances=None if self.relevances is None else self.relevances[:, kept],
            checks=None if self.checks is None else tuple(tuple(row[index] for index in kept) for row in self.checks),
            kls=None if self.kls is None else self.kls[:, kept],
            unseen=self.unseen,
            shares=self.shares,
            segment_ctrs={name: values[:, kept] for name, values in self.segment_ctrs.items()},
        )


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """After against before, on the same products."""

    num_products: int
    ctr_initial: float | None
    """Mean true CTR over products and prompts; None where nobody judges, as with all CTRs and relevances here."""
    ctr_final: float | None
    lift: float | None
    """Ratio of mean CTRs, less 1."""
    ci95: Interval | None
    """Bootstrap interval of the lift over products; None also with fewer than two products."""
    share_improved: float | None
    """Share of products whose CTR rose."""
    share_improved_ci95: Interval | None
    """Wilson interval of that share."""
    relevance_initial: float | None
    relevance_final: float | None
    score_initial: float
    """Mean score by the reward model."""
    score_final: float
    distinct_initial: float
    """Distinct prompts over all prompts."""
    distinct_final: float
    prompts_initial: PromptHealth | None
    """What the prompts are like; None where they were not checked."""
    prompts_final: PromptHealth | None

    def ctr_summary(self, ceiling: float | None) -> CtrSummary | None:
        """`ctr` of the summary, None where nobody judges. `ceiling`: true CTR of the best prompts, where known."""
        if self.ctr_initial is None or self.ctr_final is None or self.lift is None:
            return None
        return CtrSummary(initial=self.ctr_initial, final=self.ctr_final, lift=self.lift, ci95=self.ci95, ceiling=ceiling)

    def relevance_summary(self) -> RelevanceSummary | None:
        """`relevance` of the summary, None where nobody judges."""
        if self.relevance_initial is None or self.relevance_final is None:
            return None
        return RelevanceSummary(initial=self.relevance_initial, final=self.relevance_final)

    def prompts_summary(self) -> PromptsSummary | None:
        """`prompts` of the summary, None where the prompts of either were not checked."""
        if self.prompts_initial is None or self.prompts_final is None:
            return None
        return PromptsSummary(initial=self.prompts_initial, final=self.prompts_final)


def compare_policies(before: EvaluatedPolicy, after: EvaluatedPolicy, resamples: int = 2000, seed: int = 0) -> PolicyComparison:
    """Compare two policies product by product. `resamples` and `seed` are those of the bootstrap.

    Raises ValueError where the two were not measured on the same products in the same order, or only one of them was judged.
    """
    if before.product_ids != after.product_ids:
        raise ValueError("the two policies were measured on different products, or in a different order")
    if (before.ctrs is None) != (after.ctrs is None):
        raise ValueError("only one of the two policies was judged")
    ctr_initial = ctr_final = rate_lift = ci95 = share = share_ci95 = None
    if before.ctrs is not None and after.ctrs is not None:
        ctr_initial, ctr_final = before.mean(before.ctrs), after.mean(after.ctrs)
        per_product = before.per_product(before.ctrs), after.per_product(after.ctrs)
        rate_lift = lift(ctr_initial, ctr_final)
        ci95 = bootstrap_lift_interval(*per_product, resamples, seed) if len(before.product_ids) > 1 else None
        improved = int(np.sum(per_product[1] > per_product[0]))
        share, share_ci95 = improved / len(before.product_ids), wilson_interval(improved, len(before.product_ids))
    return PolicyComparison(
        num_products=len(before.product_ids),
        ctr_initial=ctr_initial,
        ctr_final=ctr_final,
        lift=rate_lift,
        ci95=ci95,
        share_improved=share,
        share_improved_ci95=share_ci95,
        relevance_initial=None if before.relevances is None else before.mean(before.relevances),
        relevance_final=None if after.relevances is None else after.mean(after.relevances),
        score_initial=before.mean(before.scores),
        score_final=after.mean(after.scores),
        distinct_initial=before.distinct(),
        distinct_final=after.distinct(),
        prompts_initial=before.health(),
        prompts_final=after.health(),
    )


def compare_on_shared_products(before: EvaluatedPolicy, after: EvaluatedPolicy, resamples: int = 2000, seed: int = 0) -> PolicyComparison:
    """`compare_policies` on the products that both were measured on: one left out of either side is left out of both.

    Raises ValueError where no product is left, or only one of the two was judged.
    """
    return compare_policies(before.only(set(after.product_ids)), after.only(set(before.product_ids)), resamples, seed)


def mean_ceiling(ceilings: Mapping[str, float], product_ids: Collection[str]) -> float | None:
    """Mean true CTR of the best prompts for `product_ids`; None where it is not known for all of them."""
    known = [ceilings[name] for name in product_ids if name in ceilings]
    return float(np.mean(known)) if known and len(known) == len(product_ids) else None


def _check_array(name: str, values: npt.NDArray[np.float64], product_ids: tuple[str, ...], num_prompts: int) -> None:
    if values.shape != (len(product_ids), num_prompts):
        raise ValueError(f"{name} must be (products, prompts) = {(len(product_ids), num_prompts)}, not {values.shape}")
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        raise ValueError(f"{name} of product {product_ids[int(np.argmax(broken))]!r} hold numbers that are not finite")
