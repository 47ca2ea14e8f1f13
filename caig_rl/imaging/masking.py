"""Blacks out patches of a product picture: negative (a) of L_PCPO (METHOD, stage C)."""

from __future__ import annotations

import numpy as np

from caig_rl.types import ImageArray

_PAPER_PATCHES_PER_SIDE = 25
_MIN_PATCH_PX = 8


def mask_patches(image: ImageArray, seed: int, share: float = 0.75) -> ImageArray:
    """A copy of `image` (height, width, 3) with exactly round(share * n) of its n patches black, chosen by `seed`.

    Patches are squares of max(side // 25, 8) px (32 px at 800 px in the paper), the last of a row or column cut off by the frame.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    height, width = image.shape[:2]
    patch = max(min(height, width) // _PAPER_PATCHES_PER_SIDE, _MIN_PATCH_PX)
    rows, columns = -(-height // patch), -(-width // patch)
    chosen = np.random.default_rng(seed).permutation(rows * columns)[: round(share * rows * columns)]
    grid = np.zeros(rows * columns, dtype=np.bool_)
    grid[chosen] = True
    black = np.kron(grid.reshape(rows, columns), np.ones((patch, patch), dtype=np.bool_))[:height, :width]
    masked = image.copy()
    masked[black] = 0
    return masked
