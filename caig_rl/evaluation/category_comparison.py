"""Two policies compared on products of categories that training saw, and of categories that it did not."""

from __future__ import annotations

from collections.abc import Mapping

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy, compare_policies, mean_ceiling
from caig_rl.runs.summary import CategoriesSummary, MeasuredGroup


def compare_by_category(
    before: EvaluatedPolicy, after: EvaluatedPolicy, ceilings: Mapping[str, float], resamples: int = 2000, seed: int = 0
) -> CategoriesSummary | None:
    """`categories` of the summary, on the products that both were measured on; None where no category was kept from training.

    Args:
        before: the initial policy.
        after: the final one.
        ceilings: true CTR of the best known prompt by product id, where it is known.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    unseen = {name for one in (before, after) for name, mark in zip(one.product_ids, one.unseen, strict=False) if mark}
    if not unseen:
        return None
    shared = set(before.product_ids) & set(after.product_ids)

    def group(is_unseen: bool) -> MeasuredGroup | None:
        names = shared & unseen if is_unseen else shared - unseen
        return _measured(before.only(names), after.only(names), ceilings, resamples, seed) if names else None

    return CategoriesSummary(seen=group(False), unseen=group(True))


def _measured(before: EvaluatedPolicy, after: EvaluatedPolicy, ceilings: Mapping[str, float], resamples: int, seed: int) -> MeasuredGroup:
    found = compare_policies(before, after, resamples, seed)
    return MeasuredGroup(
        products=found.num_products,
        ctr=found.ctr_summary(mean_ceiling(ceilings, before.product_ids)),
        relevance=found.relevance_summary(),
    )
