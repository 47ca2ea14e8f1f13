"""Resizing and cropping of pictures with alpha."""

from __future__ import annotations

import cv2
import numpy as np

from caig_rl.types import ImageArray

VISIBLE = 9
"""Less alpha cannot be seen."""


def content_box(rgba: ImageArray, least_alpha: int = VISIBLE) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the pixels whose alpha is at least `least_alpha`; there must be one."""
    seen = rgba[..., 3] >= least_alpha
    rows, columns = np.nonzero(seen.any(axis=1))[0], np.nonzero(seen.any(axis=0))[0]
    assert len(rows), f"no pixel has alpha {least_alpha}"
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def resize_premultiplied(rgba: ImageArray, width: int, height: int) -> ImageArray:
    """Resize (h, w, 4), colour weighted by alpha so that hidden pixels never bleed into the edge. Area averaging to shrink, else cubic."""
    if rgba.shape[:2] == (height, width):
        return rgba
    premultiplied = rgba.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255.0
    shrinking = width <= rgba.shape[1] and height <= rgba.shape[0]
    resized = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    alpha = np.clip(resized[..., 3:], 0.0, 255.0)
    colour = resized[..., :3] * 255.0 / np.maximum(alpha, 1.0)
    return np.asarray(np.clip(np.rint(np.concatenate([colour, alpha], axis=2)), 0, 255), dtype=np.uint8)


def shrink(rgba: ImageArray, max_side: int) -> ImageArray:
    """Shrink (h, w, 4) so that its longest side is at most `max_side`; a smaller picture is returned as it is."""
    height, width = rgba.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1.0:
        return rgba
    return resize_premultiplied(rgba, max(1, round(scale * width)), max(1, round(scale * height)))
