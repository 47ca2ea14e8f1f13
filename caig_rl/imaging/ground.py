"""The ground of a product photo: a smooth colour model in CIE Lab, and the region that is reached from the border.

Studio grounds are plain but rarely flat: they carry a gradient, a vignette and a soft shadow. So the ground is taken to be a
quadratic surface in Lab, and a pixel belongs to it when it is near that surface (a shadow may be darker), locally smooth, and
connected to the border by a way wider than a gap in a faint product edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from caig_rl.types import ImageArray

Lab = npt.NDArray[np.float32]
"""(height, width, 3): L 0-100, a and b about -128 to 127, so that a distance of 2.3 is just noticeable."""
Mask = npt.NDArray[np.bool_]
"""(height, width)."""

MIN_BORDER_SHARE = 0.3
"""A border that fits the model on less than this share is no plain ground."""
# The numbers below were set by eye on 101 studio photos of 512 px, looking at every cut-out. Distances are in Lab.
_BORDER_SHARE = 0.03
_BORDER_TOLERANCE = 6.0
# Scales of the Cauchy weights, wide first: the product may reach the border, and the ground may run from grey to white.
_FIT_SCALES = (20.0, 10.0, 5.0)
# How far the ground may differ from the model: a shadow is darker, a lit wall brighter, light bounced off the product tints it.
_SHADOW_DEPTH = 45.0
_MAX_BRIGHTER = 9.0
_MAX_CHROMA = 9.0
# The penumbra near the product is steeper than plain ground; deeper or more tinted than this, it may be a plain grey product.
_STEEP_SHADOW_DEPTH = 25.0
_MAX_SHADOW_CHROMA = 5.0
_LOOSE_SHADOW_DEPTH = 72.0
# Slopes in Lab units a pixel: JPEG noise on a plain ground stays under the first, the outline of a product is over the second.
_SMOOTH = 1.6
_HARD_EDGE = 4.0
# Just noticeable.
_NEAR = 2.5
# The flood does not pass gaps narrower than about twice this: a white product on white has a broken outline.
_GAP_PX = 2
_MIN_WINDOW = 3e-4
# A window as large as this share of what stands out may be a pale product's own face: it must be the ground's colour, not near it.
_MOST_OF_PRODUCT, _SAME = 0.4, 1.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of the ground of one photo."""

    mask: Mask
    """True on the ground, also where it shows through the product."""
    model: Lab
    """The modelled ground, also behind the product."""
    distance: npt.NDArray[np.float32]
    """(height, width): distance in Lab of each pixel from the modelled ground."""
    shadow: Mask
    """True where a pixel could be a shadow on the ground: smooth, darker, of about its hue. Plain grey products look like this too."""
    border_share: float
    """0-1: share of the image's border that fits the model."""


def to_lab(rgb: ImageArray) -> Lab:
    """CIE Lab (D65) of an sRGB image."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB), dtype=np.float32)


def lab_length(difference: Lab) -> npt.NDArray[np.float32]:
    """Length of each difference vector: (height, width)."""
    return np.asarray(np.sqrt(np.einsum("ijk,ijk->ij", difference, difference)), dtype=np.float32)


def find_ground(rgb: ImageArray) -> Ground:
    """Fit the ground of `rgb` (height, width, 3) from its border inwards and say which pixels it covers."""
    lab = cv2.GaussianBlur(to_lab(rgb), (0, 0), 0.8)
    slope = _slope(lab)
    border = _border(lab.shape[0], lab.shape[1])
    model = _fit(lab, border)
    mask = _flood(lab - model, slope, border)
    if mask.mean() > 0.05:
        model = _fit(lab, mask | border)
        mask = _flood(lab - model, slope, border)
    residual = lab - model
    distance = lab_length(residual)
    mask = mask | _windows(distance, slope, mask)
    fits = distance[border] < _BORDER_TOLERANCE
    return Ground(mask=mask, model=model, distance=distance, shadow=_shadow(residual, slope), border_share=float(fits.mean()))


def _border(height: int, width: int) -> Mask:
    band = max(2, round(_BORDER_SHARE * min(height, width)))
    border = np.ones((height, width), dtype=np.bool_)
    border[band:-band, band:-band] = False
    return border


def _slope(lab: Lab) -> npt.NDArray[np.float32]:
    """Steepness of the colour at each pixel in Lab units a pixel."""
    dx = cv2.Scharr(lab, cv2.CV_32F, 1, 0) / 32.0
    dy = cv2.Scharr(lab, cv2.CV_32F, 0, 1) / 32.0
    return np.hypot(lab_length(dx), lab_length(dy))


def _fit(lab: Lab, where: Mask) -> Lab:
    """Robust quadratic surface through the pixels of `where`: iteratively reweighted least squares with Cauchy weights."""
    height, width = where.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    rows, columns = np.nonzero(where)
    step = max(1, len(rows) // 4000)
    points, colours = basis[rows[::step], columns[::step]], lab[rows[::step], columns[::step]]
    residual = colours - np.median(colours, axis=0)
    coefficients = np.zeros((basis.shape[2], 3), dtype=np.float32)
    for scale in _FIT_SCALES:
        weight = 1.0 / (1.0 + (residual**2).sum(axis=1, keepdims=True) / scale**2)
        coefficients = np.linalg.lstsq(points * np.sqrt(weight), colours * np.sqrt(weight), rcond=None)[0].astype(np.float32)
        residual = colours - points @ coefficients
    return np.asarray(basis @ coefficients, dtype=np.float32)


def _flood(residual: Lab, slope: npt.NDArray[np.float32], border: Mask) -> Mask:
    lightness, chroma = residual[..., 0], np.hypot(residual[..., 1], residual[..., 2])
    plausible = (lightness > -_SHADOW_DEPTH) & (lightness < _MAX_BRIGHTER) & (chroma < _MAX_CHROMA)
    near = lab_length(residual) < _NEAR
    shade = (lightness < -_NEAR) & (lightness > -_STEEP_SHADOW_DEPTH) & (chroma < _MAX_SHADOW_CHROMA)
    passable = plausible & ((slope < _SMOOTH) | ((near | shade) & (slope < 2 * _SMOOTH)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GAP_PX + 1, 2 * _GAP_PX + 1))
    wide = cv2.erode(passable.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    _, labels = cv2.connectedComponents(wide, connectivity=4)
    seeds = border & (lab_length(residual) < _BORDER_TOLERANCE) & (wide > 0)
    reached = np.isin(labels, np.unique(labels[seeds])) & (wide > 0)
    grown = cv2.dilate(reached.astype(np.uint8), kernel) > 0
    return np.asarray(grown & passable)


def _shadow(residual: Lab, slope: npt.NDArray[np.float32]) -> Mask:
    darker = (residual[..., 0] < 0) & (residual[..., 0] > -_LOOSE_SHADOW_DEPTH)
    return np.asarray(darker & (np.hypot(residual[..., 1], residual[..., 2]) < _MAX_CHROMA) & (slope < _HARD_EDGE))


def _windows(distance: npt.NDArray[np.float32], slope: npt.NDArray[np.float32], ground: Mask) -> Mask:
    """Ground seen through the product: a handle, a harness. It matches the model closely, is flat, and ends in hard edges all round;
    a highlight or printed snow that happens to have the ground's colour fades out somewhere, and a white cup drawn in a thin line is
    nearly all window."""
    flat = ((distance < 2 * _NEAR) & (slope < _SMOOTH) & ~ground).astype(np.uint8)
    flat = cv2.morphologyEx(flat, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    edge = cv2.dilate(slope, np.ones((5, 5), np.uint8))
    found = np.zeros_like(ground)
    for i in range(1, count):
        if stats[i, cv2.CC_STAT_AREA] < max(12, round(_MIN_WINDOW * ground.size)):
            continue
        window = (labels == i).astype(np.uint8)
        ring = (cv2.dilate(window, np.ones((7, 7), np.uint8)) > 0) & (cv2.dilate(window, np.ones((3, 3), np.uint8)) == 0)
        near = _SAME if stats[i, cv2.CC_STAT_AREA] > _MOST_OF_PRODUCT * (~ground).sum() else 1.2 * _NEAR
        if (edge[ring] > _HARD_EDGE).mean() > 0.85 and np.median(distance[window > 0]) < near:
            found |= cv2.dilate(window, np.ones((3, 3), np.uint8)) > 0
    return found
