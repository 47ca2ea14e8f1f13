"""Where the product stands in the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.resizing import content_box, resize_premultiplied
from caig_rl.types import Cutout, ImageArray


@dataclass(frozen=True, slots=True)
class PlacedProduct:
    """A product in its place in the frame."""

    layer: ImageArray
    """(size, size, 4), straight alpha; transparent outside the product."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the product in pixels; right and bottom are exclusive."""

    @property
    def size(self) -> int:
        """Side of the frame in pixels."""
        return int(self.layer.shape[0])


def place(cutout: Cutout, config: ImagingConfig, size: int) -> PlacedProduct:
    """Scale the product so that its longest side is `product_scale * size`, centre it, and stand its foot at `baseline * size`.

    A product too tall for the room above its foot is moved down until it touches the top of the frame.
    """
    left, top, right, bottom = content_box(cutout.rgba)
    product = cutout.rgba[top:bottom, left:right]
    scale = config.product_scale * size / max(product.shape[:2])
    width, height = (min(size, max(1, round(scale * side))) for side in (product.shape[1], product.shape[0]))
    x = (size - width) // 2
    y = min(max(0, round(config.baseline * size) - height), size - height)
    layer = np.zeros((size, size, 4), dtype=np.uint8)
    layer[y : y + height, x : x + width] = resize_premultiplied(product, width, height)
    return PlacedProduct(layer=layer, box=(x, y, x + width, y + height))
