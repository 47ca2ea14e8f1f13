"""The pictures that models and people see: the product for the policy, the creative for judges, files for the run folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from caig_rl.imaging.resizing import content_box, resize_premultiplied
from caig_rl.types import Cutout, ImageArray

GREY = 236
"""The plain light ground of the policy's view."""
_FILL = 0.9


def policy_view(cutout: Cutout, size: int) -> ImageArray:
    """The product centred over plain light grey, its longest side 90 % of the frame: (size, size, 3)."""
    left, top, right, bottom = content_box(cutout.rgba)
    scale = _FILL * size / max(right - left, bottom - top)
    width, height = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    product = resize_premultiplied(cutout.rgba[top:bottom, left:right], width, height).astype(np.float32)
    x, y = (size - width) // 2, (size - height) // 2
    view = np.full((size, size, 3), GREY, dtype=np.uint8)
    alpha = product[..., 3:] / 255.0
    view[y : y + height, x : x + width] = np.rint(product[..., :3] * alpha + GREY * (1.0 - alpha)).astype(np.uint8)
    return view


def judge_view(creative: ImageArray, size: int) -> ImageArray:
    """The creative scaled to (size, size, 3) by area averaging."""
    return np.asarray(cv2.resize(creative, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def save_png(image: ImageArray, path: Path) -> None:
    """Write (height, width, 3 or 4) as PNG; the folder must exist."""
    Image.fromarray(image).save(path, format="PNG")
