"""Reward shaping, a step of its own before the objective: own rewards mixed with the model's, less what a prompt is worth to any product.

shaped = (1 - m) * own + m * predicted - c * any (METHOD, section 6). The last term makes the reward product-centric: the product is the
only variable, as in PCPO, without a second forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caig_rl.prompt_model.effects import PromptEffects
from caig_rl.types import Product

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShapedRewards:
    """Four numbers a candidate, for the ledger. Log-odds less their mean over the group's usable candidates; NaN for the others."""

    own: tuple[float, ...]
    """The reward model's."""
    predicted: tuple[float, ...]
    """The prompt model's for this product; 0 without a model."""
    any_product: tuple[float, ...]
    """The prompt model's for any product; 0 without a model."""
    shaped: tuple[float, ...]
    """What the objective learns from."""


def shape_rewards(
    effects: PromptEffects | None,
    product: Product,
    texts: Sequence[str],
    rewards: Sequence[float],
    model_share: float,
    product_share: float,
) -> ShapedRewards:
    """Shape one group's rewards.

    Args:
        effects: the model's most probable effects, or None where there is no model or it is not trusted: `shaped` is then `own`.
        product: the group's.
        texts: K prompts.
        rewards: K rewards in log-odds of a click, NaN where the candidate is not usable.
        model_share: m, 0 to 1.
        product_share: c, 0 to 1.

    Raises:
        ValueError: unequal numbers of prompts and rewards, or a share outside 0 to 1.
    """
    if len(texts) != len(rewards):
        raise ValueError(f"{len(texts)} prompts and {len(rewards)} rewards for product {product.product_id!r}")
    for name, share in (("model_share", model_share), ("product_share", product_share)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} must lie in 0 to 1, not {share}")
    own = np.asarray(rewards, np.float64)
    zero = np.zeros(len(texts))
    predicted, any_product = (zero, zero) if effects is None else (effects.value(product, texts), effects.value_to_any(texts))
    return mixed(own, predicted, any_product, *((0.0, 0.0) if effects is None else (model_share, product_share)))


def mixed(own: FloatArray, predicted: FloatArray, any_product: FloatArray, model_share: float, product_share: float) -> ShapedRewards:
    """(1 - m) * own + m * predicted - c * any, all (K,) and less their mean over candidates whose own reward is not NaN."""
    usable = ~np.isnan(own)
    own, predicted, any_product = (_centred(values, usable) for values in (own, predicted, any_product))
    shaped = (1.0 - model_share) * own + model_share * predicted - product_share * any_product
    return ShapedRewards(*(tuple(values.tolist()) for values in (own, predicted, any_product, shaped)))


def _centred(values: FloatArray, usable: npt.NDArray[np.bool_]) -> FloatArray:
    kept = np.where(usable, values, np.nan)
    return kept - np.mean(values[usable]) if usable.any() else kept
