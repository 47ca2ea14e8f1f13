"""From the scores of K candidates to a preference group, or to the reason why there is none. Plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from caig_rl.data.instructions import Task, instruction
from caig_rl.learning.preference.negatives import NegativeSampler
from caig_rl.types import NegativeKind, Outcome, PreferenceGroup, Product, Rollout, RolloutGroup

_OFFICIAL_STREAM = 0x0FF1


@dataclass(frozen=True, slots=True)
class NoGroup:
    """Why an admission gave no group."""

    outcome: Outcome
    """`TIED` or `FAILED`."""
    kind: str = ""
    message: str = ""


def select_group(
    group: RolloutGroup,
    scores: Sequence[float],
    reasons: Sequence[str],
    product: Product,
    negatives: NegativeSampler,
    margin: float,
    guard_scores: Sequence[float] = (),
) -> PreferenceGroup | NoGroup:
    """The scored candidates, with their product-centric negative drawn from the admission's seed.

    Args:
        group: the K rollouts.
        scores: K scores in log-odds; NaN where the usability gate refused the creative.
        reasons: K reasons of the gate, empty where usable.
        product: the admission's product.
        negatives: draws the negative.
        margin: best and worst closer than this (log-odds) are a tie; so are two candidates with the same tokens.
        guard_scores: K scores by the guard, which decide nothing here; empty without a guard.
    """
    assert len(scores) == len(group.rollouts) == len(reasons)
    usable = [index for index, score in enumerate(scores) if not math.isnan(score)]
    if len(usable) < 2:
        refused = ", ".join(sorted({reason for reason in reasons if reason}))
        return NoGroup(Outcome.FAILED, "unusable", f"{len(usable)} of {len(scores)} creatives passed the usability gate ({refused})")
    negative = negatives.draw(group.admission.seed, product)
    selected = PreferenceGroup(
        admission=group.admission,
        version=group.version,
        instruction=group.instruction,
        candidates=group.rollouts,
        scores=tuple(float(score) for score in scores),
        negative=negative.kind,
        negative_seed=negative.mask_seed,
        negative_product_id=negative.product_id,
        negative_instruction=negative.instruction,
        guard_scores=tuple(float(score) for score in guard_scores),
    )
    gap = scores[selected.best] - scores[selected.worst]
    if gap <= 0.0 or gap < margin or selected.chosen.token_ids == selected.rejected.token_ids:
        return NoGroup(Outcome.TIED, message=f"best and worst are {gap:.3g} apart in log-odds")
    return selected


def official_negatives(
    groups: Sequence[PreferenceGroup], products: Mapping[str, Product]
) -> tuple[list[PreferenceGroup], list[Rollout | None]]:
    """The "pcpo_official" form: a text negative takes text and winning answer of another row of the batch, which may be the row itself.

    Returns the groups with their negatives redrawn, and for each the other row's winner (None where the picture is masked).
    """
    redrawn: list[PreferenceGroup] = []
    rollouts: list[Rollout | None] = []
    for group in groups:
        if group.negative is NegativeKind.MASKED_IMAGE:
            redrawn.append(group)
            rollouts.append(None)
            continue
        seed = group.admission.seed
        other = groups[int(np.random.default_rng([_OFFICIAL_STREAM, seed]).integers(len(groups)))]
        product = products[other.admission.product_id].shown_to(group.admission.segment)
        text = instruction(Task.PROMPT_GENERATION, product, seed)
        redrawn.append(replace(group, negative_product_id=product.product_id, negative_instruction=text))
        rollouts.append(other.chosen)
    return redrawn, rollouts
