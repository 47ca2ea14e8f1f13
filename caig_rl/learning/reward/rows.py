"""Logged creatives as the reward models learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caig_rl.types import ImageArray


@dataclass(frozen=True, slots=True)
class RewardRows:
    """Logged creatives: N rows over P products."""

    product_index: npt.NDArray[np.int64]
    """(N,) 0 to P - 1."""
    product_texts: Sequence[str]
    """(P,) each product's text, as the model reads it (`text_of`)."""
    images: Sequence[ImageArray]
    """(N,) judge views, (image_size, image_size, 3)."""
    impressions: npt.NDArray[Any]
    """(N,) numbers, times shown, above 0; effective ones where traffic was not split evenly."""
    clicks: npt.NDArray[Any]
    """(N,) numbers, 0 to impressions."""
