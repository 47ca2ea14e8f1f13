"""Frees a product from its ground: by the file's own alpha, or for a photo on a plain ground by modelling that ground."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from caig_rl.imaging.ground import MIN_BORDER_SHARE, Ground, Mask, find_ground
from caig_rl.imaging.resizing import content_box, shrink
from caig_rl.types import Cutout, ImageArray

MAX_SIDE = 512
"""Longest side of a cut-out in pixels: the side of the finished creative."""
MARGIN_PX = 2
"""Transparent margin around the product."""
_REAL_TRANSPARENCY = 0.005
_MIN_AREA, _MAX_AREA = 0.01, 0.92
_MIN_PART = 0.02
_LOOSE_SHADOW = 0.6
_CLEAR_DISTANCE = 15.0


class NoProductFound(Exception):
    """The image shows no product that stands out from a plain ground; the message says what was seen instead."""


def make_cutout(rgba: ImageArray, max_side: int = MAX_SIDE) -> Cutout:
    """Cut the product out of `rgba` (height, width, 4).

    A file with real transparency (at least 0.5 % of its pixels) is taken at its word. Any other is read as a photo on a plain
    ground. The result is cropped to the product with a margin of 2 px, its longest side at most `max_side`.

    Raises NoProductFound when nothing, or nothing but ground, is there.
    """
    alpha = rgba[..., 3]
    if (alpha < 128).mean() >= _REAL_TRANSPARENCY:
        if not (alpha >= 128).any():
            raise NoProductFound("every pixel is transparent")
        return Cutout(rgba=crop_to_product(rgba, max_side), confidence=1.0, method="alpha")
    return _from_plain_ground(shrink(rgba, max_side)[..., :3], max_side)


def crop_to_product(rgba: ImageArray, max_side: int) -> ImageArray:
    """Crop to the pixels with alpha, with a margin, and shrink so that the longest side is at most `max_side`."""
    left, top, right, bottom = content_box(rgba)
    tight = shrink(rgba[top:bottom, left:right], max_side - 2 * MARGIN_PX)
    return np.pad(tight, ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0)))


def _from_plain_ground(rgb: ImageArray, max_side: int) -> Cutout:
    if min(rgb.shape[:2]) < 16:
        raise NoProductFound(f"the image is only {rgb.shape[1]} x {rgb.shape[0]} pixels")
    ground = find_ground(rgb)
    if ground.border_share < MIN_BORDER_SHARE:
        raise NoProductFound(f"no plain ground: only {ground.border_share:.0%} of the border has one colour")
    product = _clean(~ground.mask, ground.shadow)
    share = float(product.mean())
    if share < _MIN_AREA:
        raise NoProductFound(f"nothing stands out from the ground (product covers {share:.1%} of the image)")
    alpha = _soft_edge(product)
    rgba = np.dstack([_colour_from_inside(rgb, product), alpha])
    return Cutout(rgba=crop_to_product(rgba, max_side), confidence=_confidence(ground, product), method="plain_ground")


def _clean(mask: Mask, shadow: Mask) -> Mask:
    """Close cracks, drop specks and loose shadows: keeps the largest part, and those of at least 2 % of its area that are no shadow."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    solid = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    if count == 1:
        return np.zeros_like(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    large = 1 + np.nonzero(areas >= _MIN_PART * areas.max())[0]
    kept = [i for i in large if i == 1 + int(areas.argmax()) or shadow[labels == i].mean() < _LOOSE_SHADOW]
    return np.isin(labels, kept)


def _soft_edge(product: Mask) -> npt.NDArray[np.uint8]:
    """Alpha that falls over about 3 px, centred half a pixel inside the mask, where no ground is mixed in."""
    inner = cv2.erode(product.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    soft = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), 0.9)
    return np.asarray(np.where(product, np.rint(soft * 255.0), 0), dtype=np.uint8)


def _colour_from_inside(rgb: ImageArray, product: Mask) -> ImageArray:
    """Replace the colour of the outermost 2 px, mixed with ground, by that of the nearest pixel further in."""
    inside = cv2.erode(product.astype(np.uint8), np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    if not inside.any():
        return rgb
    rows, columns = ndimage.distance_transform_edt(inside == 0, return_distances=False, return_indices=True)
    near = cv2.dilate(inside, np.ones((5, 5), np.uint8)) > 0
    return np.asarray(np.where(near[..., None], rgb[rows, columns], rgb), dtype=np.uint8)


def _confidence(ground: Ground, product: Mask) -> float:
    """How plain the border is * how far the product's rim stands from the ground * whether the product's share is sane."""
    rim = product & (cv2.erode(product.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    separation = float(np.clip(ground.distance[rim] / _CLEAR_DISTANCE, 0.0, 1.0).mean())
    share = float(product.mean())
    sane = min(1.0, share / (3 * _MIN_AREA)) * min(1.0, max(0.0, _MAX_AREA - share) / 0.15)
    return ground.border_share * separation * sane
