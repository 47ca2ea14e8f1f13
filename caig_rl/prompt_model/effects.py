"""What one set of weights says of prompts: their worth to one product, and to any product of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caig_rl.prompt_model.features import PromptFeatures
from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.types import Product

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PromptEffects:
    """The posterior's mean, or a draw from it. Values are log-odds of a click, up to a constant for each product."""

    weights: FloatArray
    """(features.width,) log-odds a feature."""
    features: PromptFeatures
    kinds: ProductKinds

    def value(self, product: Product, texts: Sequence[str]) -> FloatArray:
        """(len(texts),) what each prompt is worth to this product."""
        values: FloatArray = self.features.rows(self.kinds.kind(product), texts) @ self.weights
        return values

    def value_to_any(self, texts: Sequence[str]) -> FloatArray:
        """(len(texts),) what each prompt is worth to any product: the mean over the catalog's kinds by their shares.

        The shared and the crossed effects both count: a phrase may be worth more to some kinds than to others.
        """
        values: FloatArray = self.features.mixed_rows(self.kinds.shares, texts) @ self.weights
        return values
