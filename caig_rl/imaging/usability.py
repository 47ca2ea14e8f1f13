"""The gate before the reward: may this creative be shown at all?

It is conservative. A creative is refused only for changed product pixels, for a background that shows nothing, or for a
background that goes on with the product beyond its outline along much of it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.composition import product_difference
from caig_rl.imaging.ground import Lab, to_lab
from caig_rl.imaging.placement import PlacedProduct
from caig_rl.types import ImageArray, RenderReport

BLANK_STD = 2.0
"""Grey levels: a background whose channels all vary less than this around the product is blank."""
EXTENDED_SHARE = 0.35
"""A product counts as extended when the background continues it along more than this share of its outline."""
_CHECK_SIDE = 128
_INSIDE, _NEAR, _FAR = 0.025, 0.06, 0.16
"""Shares of the frame: the product's colour is read this far inside its outline, the background's this far outside. Near lies beyond
the blur of a background enlarged eight times; far is where an extension that is not itself the scene has ended."""
_SAME, _DIFFERENT = 8.0, 20.0
"""Distances in Lab: one continues the other below the first, they are told apart at a glance above the second."""
_MIN_POINTS = 24


def check_usability(creative: ImageArray, placed: PlacedProduct, config: ImagingConfig) -> RenderReport:
    """Judge one creative (size, size, 3) with `placed` in it; see `RenderReport.reason` for the reasons."""
    difference = product_difference(creative, placed, config.erode_px)
    if difference > 0:
        return RenderReport(usable=False, reason="product_changed", product_difference=difference)
    if is_blank(creative, placed):
        return RenderReport(usable=False, reason="blank")
    if extended_share(creative, placed) > EXTENDED_SHARE:
        return RenderReport(usable=False, reason="product_extended")
    return RenderReport(usable=True)


def is_blank(creative: ImageArray, placed: PlacedProduct) -> bool:
    """Does the creative, (size, size, 3), hold almost no variation outside the product?"""
    outside = (placed.layer[..., 3] == 0).astype(np.uint8)
    if not outside.any():
        return False
    return bool(cv2.meanStdDev(creative, mask=outside)[1].max() < BLANK_STD)


def extended_share(creative: ImageArray, placed: PlacedProduct) -> float:
    """0-1: share of the outline at which the background looks like the product beside it and unlike the scene farther out.

    The second half matters: a white shoe before a white wall matches its surroundings, and is not extended.
    """
    alpha = cv2.resize(placed.layer[..., 3], (_CHECK_SIDE, _CHECK_SIDE), interpolation=cv2.INTER_AREA)
    lab = to_lab(cv2.resize(creative, (_CHECK_SIDE, _CHECK_SIDE), interpolation=cv2.INTER_AREA))
    inside, near, far = _probes(alpha >= 128)
    if len(near) < _MIN_POINTS:
        return 0.0
    product, beside, scene = (_colour(lab, points) for points in (inside, near, far))
    continues = np.linalg.norm(beside - product, axis=1) < _SAME
    ends = np.linalg.norm(scene - beside, axis=1) > _DIFFERENT
    return float((continues & ends).mean())


Points = npt.NDArray[np.int64]
"""(n, 2): rows and columns."""


def _probes(product: npt.NDArray[np.bool_]) -> tuple[Points, Points, Points]:
    """Triples of points on lines across the outline: inside the product, near outside it, and farther out."""
    side = product.shape[0]
    depth = ndimage.distance_transform_edt(product)
    distance, nearest = ndimage.distance_transform_edt(~product, return_indices=True)
    near = np.argwhere(np.abs(distance - _NEAR * side) < 0.5)
    rim = nearest[:, near[:, 0], near[:, 1]].T
    outward = (near - rim) / np.maximum(np.linalg.norm(near - rim, axis=1, keepdims=True), 1.0)
    inside = np.rint(rim - outward * _INSIDE * side).astype(np.int64)
    far = np.rint(rim + outward * _FAR * side).astype(np.int64)
    framed = ((far >= 0) & (far < side) & (inside >= 0) & (inside < side)).all(axis=1)
    inside, near, far = inside[framed], near[framed], far[framed]
    clear = (depth[inside[:, 0], inside[:, 1]] > 1.0) & (distance[far[:, 0], far[:, 1]] > 0.8 * _FAR * side)
    return inside[clear], near[clear], far[clear]


def _colour(lab: Lab, points: Points) -> npt.NDArray[np.float32]:
    return lab[points[:, 0], points[:, 1]]
