"""Frees a product from its ground: by the file's own alpha, or for a photo on a plain ground by modelling that ground."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from caig_rl.imaging.ground import MIN_BORDER_SHARE, Ground, Lab, Mask, find_ground, lab_length, to_lab
from caig_rl.imaging.resizing import content_box, shrink
from caig_rl.types import Cutout, ImageArray

MAX_SIDE = 512
"""Longest side of a cut-out in pixels: the side of the finished creative."""
MARGIN_PX = 2
"""Room for the soft edge around the product's solid pixels."""
_SOLID = 128
_LEAST_SIDE = 16
_REAL_TRANSPARENCY = 0.005
# Shares of the image. A product that fills nearly all of it left no ground to learn from.
_MIN_AREA, _MAX_AREA = 0.01, 0.92
# Parts smaller than this share of the largest are specks.
_MIN_PART = 0.02
# A loose part of which this share looks like a shadow is one.
_LOOSE_SHADOW = 0.6
# Distance in Lab between the product's rim and the ground that counts as fully separated.
_CLEAR_DISTANCE = 15.0
_OPAQUE_DISTANCE, _FAINT_DISTANCE = 45.0, 8.0


class NoProductFound(Exception):
    """The image shows no product that stands out from a plain ground; the message says what was seen instead."""


def make_cutout(rgba: ImageArray, max_side: int = MAX_SIDE) -> Cutout:
    """Cut the product out of `rgba` (height, width, 4).

    A file with real transparency (at least 0.5 % of its pixels) is taken at its word. Any other is read as a photo on a plain
    ground. The result is cropped to the product and 2 px around, its longest side at most `max_side`.

    Raises NoProductFound when nothing, or nothing but ground, is there.
    """
    alpha = rgba[..., 3]
    if (alpha < _SOLID).mean() >= _REAL_TRANSPARENCY:
        if not (alpha >= _SOLID).any():
            raise NoProductFound("every pixel is transparent")
        return Cutout(rgba=crop_to_product(rgba, max_side), confidence=1.0, method="alpha")
    small = shrink(rgba, max_side)[..., :3]
    if min(small.shape[:2]) < _LEAST_SIDE:
        raise NoProductFound(_too_narrow(rgba, small))
    return _from_plain_ground(small, max_side)


def crop_to_product(rgba: ImageArray, max_side: int) -> ImageArray:
    """Crop to the solid pixels (alpha of at least 128) and 2 px around, and shrink so that the longest side is at most `max_side`.

    Many cut-outs bring a faint shadow that floats under the product. It must not decide where the product's foot is.
    """
    left, top, right, bottom = content_box(rgba, _SOLID)
    framed = np.pad(rgba, ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0)))
    return shrink(framed[top : bottom + 2 * MARGIN_PX, left : right + 2 * MARGIN_PX], max_side)


def _from_plain_ground(rgb: ImageArray, max_side: int) -> Cutout:
    ground = find_ground(rgb)
    if ground.border_share < MIN_BORDER_SHARE:
        raise NoProductFound(f"no plain ground: only {ground.border_share:.0%} of the border has one colour")
    product = _clean(~ground.mask, ground.shadow)
    share = float(product.mean())
    if share < _MIN_AREA:
        raise NoProductFound(f"nothing stands out from the ground (product covers {share:.1%} of the image)")
    alpha = _soft_edge(to_lab(rgb), ground, product)
    rgba = np.dstack([_colour_from_inside(rgb, alpha >= 0.5), np.rint(alpha * 255.0).astype(np.uint8)])
    return Cutout(rgba=crop_to_product(rgba, max_side), confidence=_confidence(ground, alpha >= 0.5), method="plain_ground")


def _too_narrow(original: ImageArray, small: ImageArray) -> str:
    shrunk = "" if small.shape[:2] == original.shape[:2] else f", shrunk to {small.shape[1]} x {small.shape[0]} to be read"
    return f"the image is only {original.shape[1]} x {original.shape[0]} pixels{shrunk}; at least {_LEAST_SIDE} each way are needed"


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


def _soft_edge(lab: Lab, ground: Ground, product: Mask) -> npt.NDArray[np.float32]:
    """Alpha 0-1. In the outermost 3 px a pixel is as opaque as it is far from the ground, measured against the product further in.

    A pixel as far as `_OPAQUE_DISTANCE` is opaque whatever lies further in, so that light trim on a dark product stays; where
    product and ground hardly differ, the mask decides.
    """
    inside = _erode(product, 4)
    if not inside.any():
        return product.astype(np.float32)
    contrast = np.minimum(ground.distance[_nearest(inside)], _OPAQUE_DISTANCE)
    distance = lab_length(lab - ground.model)
    alpha = np.where(contrast > _FAINT_DISTANCE, np.clip(distance / np.maximum(contrast, 1.0), 0.0, 1.0), 1.0)
    alpha = np.where(_erode(product, 3), 1.0, alpha) * product
    return np.asarray(cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), 0.6) * product, dtype=np.float32)


def _colour_from_inside(rgb: ImageArray, solid: Mask) -> ImageArray:
    """Replace the colour of the rim of `solid`, 2 px mixed with ground, and around it, by that of the nearest pixel further in."""
    inside = _erode(solid, 2)
    if not inside.any():
        return rgb
    near = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return np.asarray(np.where(near[..., None], rgb[_nearest(inside)], rgb), dtype=np.uint8)


def _erode(mask: Mask, pixels: int) -> Mask:
    """Erode in every direction; what lies beyond the frame counts as mask, for products that reach its border."""
    side = 2 * pixels + 1
    return np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0)


def _nearest(inside: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For each pixel, row and column of the nearest pixel of `inside`."""
    rows, columns = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return rows, columns


def _confidence(ground: Ground, product: Mask) -> float:
    """How plain the border is * how far the product's rim stands from the ground * whether the product's share is sane."""
    rim = product & (cv2.erode(product.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0)
    if not rim.any():  # the whole picture is product: there was no ground to tell it from
        return 0.0
    separation = float(np.clip(ground.distance[rim] / _CLEAR_DISTANCE, 0.0, 1.0).mean())
    share = float(product.mean())
    sane = min(1.0, share / (3 * _MIN_AREA)) * min(1.0, max(0.0, _MAX_AREA - share) / 0.15)
    return ground.border_share * separation * sane
