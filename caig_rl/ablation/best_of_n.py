"""Best of N without another picture: what picking the best of N scored creatives earns, from one evaluation of M >= N of them."""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy


def pick_shares(scores: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """(P, M) share of all N-subsets of a product's M creatives in which each is the one with the highest score.

    `scores` is (P, M). The creative of rank r (0 is best) is picked in C(M - 1 - r, N - 1) of C(M, N) subsets; creatives of equal score
    share. The mean of any quantity under these shares is its unbiased estimate for best of N, with the least variance that M allow.
    Raises ValueError unless 1 <= n <= M.
    """
    num = scores.shape[1]
    if not 1 <= n <= num:
        raise ValueError(f"best of {n} needs at least {n} creatives a product, not {num}")
    by_rank = np.array([comb(num - 1 - rank, n - 1) / comb(num, n) for rank in range(num)])
    shares = np.empty_like(scores)
    for row, values in zip(shares, scores, strict=True):
        row[np.argsort(-values, kind="stable")] = by_rank
        for value in np.unique(values):
            row[values == value] = row[values == value].mean()
    return shares


def best_of_n(evaluated: EvaluatedPolicy, n: int) -> EvaluatedPolicy:
    """The policy "write N, show the best by score": one expected score, CTR and relevance a product.

    Its prompt is the one picked from the first N, for a reader to see. Raises ValueError unless 1 <= n <= M, and where nobody judged.
    """
    if evaluated.ctrs is None or evaluated.relevances is None:
        raise ValueError("best of N is measured by true CTRs, and nobody judged")
    shares = pick_shares(evaluated.scores, n)
    picked = first_pick(evaluated, n)
    all_three = (evaluated.scores, evaluated.ctrs, evaluated.relevances)
    scores, ctrs, relevances = ((shares * values).sum(axis=1, keepdims=True) for values in all_three)
    prompts = tuple((texts[index],) for texts, index in zip(evaluated.prompts, picked, strict=True))
    return EvaluatedPolicy(evaluated.product_ids, prompts, scores, ctrs, relevances, unseen=evaluated.unseen)


def pick_rates(evaluated: EvaluatedPolicy, n: int) -> dict[str, float | None]:
    """Shares "malformed" and "trap" among what is picked, as `CellRow` has them; None where nobody knows. As `best_of_n` otherwise."""
    if evaluated.checks is None:
        return {"malformed": None, "trap": None}
    shares = pick_shares(evaluated.scores, n)
    malformed = np.array([[check.malformed for check in row] for row in evaluated.checks])
    traps = [[check.trap for check in row] for row in evaluated.checks]
    is_known = all(trap is not None for row in traps for trap in row)
    per_product = {"malformed": malformed, "trap": np.array(traps) if is_known else None}
    return {name: None if found is None else float((shares * found).sum(axis=1).mean()) for name, found in per_product.items()}


def first_pick(evaluated: EvaluatedPolicy, n: int) -> list[int]:
    """(P,) index of the best by score among each product's first N."""
    return [int(index) for index in np.argmax(evaluated.scores[:, :n], axis=1)]
