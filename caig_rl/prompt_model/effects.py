"""What one set of weights says of prompts: their worth to one product, and to any product of the catalog and any shopper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from caig_rl.prompt_model.features import PromptFeatures
from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.segments import Shares
from caig_rl.types import Product

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PromptEffects:
    """The posterior's mean, or a draw from it. Values are log-odds of a click, up to a constant for each product."""

    weights: FloatArray
    """(features.width,) log-odds a feature."""
    features: PromptFeatures
    kinds: ProductKinds
    segments: Shares = field(default_factory=dict)
    """Of the shoppers."""

    def value(self, product: Product, texts: Sequence[str]) -> FloatArray:
        """(len(texts),) what each prompt is worth to this product, among the shoppers that it is shown to."""
        values: FloatArray = self.features.rows(self.kinds.kind(product), texts, product.segment) @ self.weights
        return values

    def value_to_any(self, texts: Sequence[str]) -> FloatArray:
        """(len(texts),) what each prompt is worth to any product, shown to anybody: the mean over the catalog's kinds and the segments.

        The shared and the crossed effects both count: a phrase may be worth more to some kinds than to others. The mean is over segments
        too, so that what one of them likes more than the others do is not taken off its rewards.
        """
        values: FloatArray = self.features.mixed_rows(self.kinds.shares, texts, self.segments) @ self.weights
        return values
