"""What the renderer is given beside the prompt: the Canny control and the inpainting mask (METHOD, section 1)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.placement import PlacedProduct
from caig_rl.types import ImageArray


def product_over(placed: PlacedProduct, grey: int) -> ImageArray:
    """The product over a flat grey (0-255), (size, size, 3). Colour hidden under alpha 0 does not show."""
    alpha = placed.layer[..., 3:].astype(np.float32) / 255.0
    return np.asarray(np.rint(placed.layer[..., :3] * alpha + grey * (1.0 - alpha)), dtype=np.uint8)


def canny_control(placed: PlacedProduct, config: ImagingConfig) -> ImageArray:
    """Edges of the product over black, 255 on 0, repeated in three channels: (size, size, 3)."""
    grey = cv2.cvtColor(product_over(placed, 0), cv2.COLOR_RGB2GRAY)
    edges = cv2.Canny(grey, *config.canny)
    return np.repeat(edges[..., None], 3, axis=2)


def inpaint_mask(placed: PlacedProduct, config: ImagingConfig) -> npt.NDArray[np.uint8]:
    """(size, size): 255 where the background is painted, grading to 0 on the product.

    dilate(255 - alpha, k x k) with k = mask_dilate * size (METHOD, section 1): the painted region reaches k / 2 pixels under the
    product's edge, where the product is pasted over it afterwards, so that no halo remains.
    """
    side = max(1, round(config.mask_dilate * placed.size))
    return np.asarray(cv2.dilate(255 - placed.layer[..., 3], np.ones((side, side), np.uint8)), dtype=np.uint8)
