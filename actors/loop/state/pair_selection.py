"""From the scores of K candidates to one preference: best against worst, behind a margin. Plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from caig_rl.data.instructions import Task, instruction
from caig_rl.learning.preference.negatives import draw_negative
from caig_rl.types import NegativeKind, Outcome, PreferencePair, Product, Rollout, RolloutGroup

_OFFICIAL_STREAM = 0x0FF1


@dataclass(frozen=True, slots=True)
class NoPair:
    """Why an admission gave no pair."""

    outcome: Outcome
    """`TIED` or `FAILED`."""
    kind: str = ""
    message: str = ""


def select_pair(
    group: RolloutGroup, scores: Sequence[float], reasons: Sequence[str], product: Product, others: Sequence[Product], margin: float
) -> PreferencePair | NoPair:
    """The best candidate against the worst, with its product-centric negative drawn from the admission's seed.

    Args:
        group: the K rollouts.
        scores: K scores in log-odds; NaN where the usability gate refused the creative.
        reasons: K reasons of the gate, empty where usable.
        product: the admission's product.
        others: products that a negative may take its text from, in a fixed order.
        margin: best and worst closer than this (log-odds) are a tie; so are two candidates with the same tokens.
    """
    assert len(scores) == len(group.rollouts) == len(reasons)
    usable = [index for index, score in enumerate(scores) if not math.isnan(score)]
    if len(usable) < 2:
        refused = ", ".join(sorted({reason for reason in reasons if reason}))
        return NoPair(Outcome.FAILED, "unusable", f"{len(usable)} of {len(scores)} creatives passed the usability gate ({refused})")
    best = max(usable, key=lambda index: (scores[index], -index))
    worst = min(usable, key=lambda index: (scores[index], index))
    gap = scores[best] - scores[worst]
    chosen, rejected = group.rollouts[best], group.rollouts[worst]
    if gap <= 0.0 or gap < margin or chosen.token_ids == rejected.token_ids:
        return NoPair(Outcome.TIED, message=f"best and worst are {gap:.3g} apart in log-odds")
    negative = draw_negative(group.admission.seed, product, others)
    return PreferencePair(
        admission=group.admission,
        version=group.version,
        instruction=group.instruction,
        chosen=chosen,
        rejected=rejected,
        chosen_score=float(scores[best]),
        rejected_score=float(scores[worst]),
        negative=negative.kind,
        negative_seed=negative.mask_seed,
        negative_product_id=negative.product_id,
        negative_instruction=negative.instruction,
        scores=tuple(float(score) for score in scores),
    )


def official_negatives(
    pairs: Sequence[PreferencePair], products: Mapping[str, Product]
) -> tuple[list[PreferencePair], list[Rollout | None]]:
    """The "pcpo_official" form: a text negative takes text and winning answer of another row of the batch, which may be the row itself.

    Returns the pairs with their negatives redrawn, and for each the other row's winner (None where the picture is masked).
    """
    redrawn: list[PreferencePair] = []
    rollouts: list[Rollout | None] = []
    for pair in pairs:
        if pair.negative is NegativeKind.MASKED_IMAGE:
            redrawn.append(pair)
            rollouts.append(None)
            continue
        seed = pair.admission.seed
        other = pairs[int(np.random.default_rng([_OFFICIAL_STREAM, seed]).integers(len(pairs)))]
        product = products[other.admission.product_id]
        text = instruction(Task.PROMPT_GENERATION, product, seed)
        redrawn.append(replace(pair, negative_product_id=product.product_id, negative_instruction=text))
        rollouts.append(other.chosen)
    return redrawn, rollouts
