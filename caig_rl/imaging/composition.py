"""Puts background and product together; the product's own pixels survive exactly inside its eroded mask."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from caig_rl.imaging.placement import PlacedProduct
from caig_rl.types import ImageArray


def scale_background(background: ImageArray, size: int) -> ImageArray:
    """The rendered background (height, width, 3) at (size, size, 3): Lanczos to enlarge, area averaging to shrink."""
    if background.shape[:2] == (size, size):
        return background
    growing = max(background.shape[:2]) < size
    return np.asarray(cv2.resize(background, (size, size), interpolation=cv2.INTER_LANCZOS4 if growing else cv2.INTER_AREA), dtype=np.uint8)


def compose(background: ImageArray, placed: PlacedProduct) -> ImageArray:
    """The creative (size, size, 3): `background` of any size scaled to the frame, the product pasted over it by its soft alpha.

    Where the product is opaque, and so inside any `exact_mask`, the creative's pixels are the product's, unchanged.
    """
    alpha, product = placed.layer[..., 3], placed.layer[..., :3]
    creative = scale_background(background, placed.size).copy()
    cv2.copyTo(product, (alpha == 255).astype(np.uint8), creative)
    soft = (alpha > 0) & (alpha < 255)
    share = alpha[soft, None].astype(np.float32) / 255.0
    creative[soft] = np.rint(product[soft] * share + creative[soft] * (1.0 - share)).astype(np.uint8)
    return creative


def exact_mask(placed: PlacedProduct, erode_px: int) -> npt.NDArray[np.bool_]:
    """(size, size): True where alpha is 255 and stays so within `erode_px` pixels in every direction."""
    opaque = (placed.layer[..., 3] == 255).astype(np.uint8)
    side = 2 * erode_px + 1
    return np.asarray(cv2.erode(opaque, np.ones((side, side), np.uint8)) > 0)


def product_difference(creative: ImageArray, placed: PlacedProduct, erode_px: int) -> int:
    """Largest absolute difference (grey levels) between creative and product inside the exact mask; 0 where the mask is empty."""
    exact = exact_mask(placed, erode_px).astype(np.uint8)
    # The largest difference of no pixel at all is 0.
    return int(cv2.norm(creative, np.ascontiguousarray(placed.layer[..., :3]), cv2.NORM_INF, exact))
