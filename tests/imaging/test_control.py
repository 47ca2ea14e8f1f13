from __future__ import annotations

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.control import canny_control, inpaint_mask
from caig_rl.imaging.placement import place
from tests.imaging.pictures import box_cutout

CONFIG = ImagingConfig(product_scale=0.5, baseline=0.75, mask_dilate=0.05)
PLACED = place(box_cutout(40, 60), CONFIG, 240)


def test_the_control_shows_the_outline_and_nothing_inside_a_plain_product() -> None:
    control = canny_control(PLACED, CONFIG)
    assert control.shape == (240, 240, 3)
    assert set(np.unique(control)) == {0, 255}
    assert control[120, 70:90].max() == 255
    assert control[80:160, 100:140].max() == 0


def test_hidden_colour_makes_no_edges() -> None:
    layer = PLACED.layer.copy()
    layer[:40, :, :3] = np.random.default_rng(0).integers(0, 256, (40, 240, 3))
    noisy = type(PLACED)(layer=layer, box=PLACED.box)
    np.testing.assert_array_equal(canny_control(noisy, CONFIG), canny_control(PLACED, CONFIG))


def test_the_painted_region_reaches_half_the_kernel_under_the_products_edge() -> None:
    mask = inpaint_mask(PLACED, CONFIG)
    assert (mask.shape, mask.dtype) == ((240, 240), np.uint8)
    left, top, right, bottom = PLACED.box
    kept = np.argwhere(mask == 0)
    # k = 0.05 * 240 = 12 px, so 5 or 6 px on either side.
    assert kept.min(axis=0).tolist() in ([top + 5, left + 5], [top + 6, left + 6])
    assert (np.array([bottom, right]) - 1 - kept.max(axis=0)).tolist() in ([5, 5], [6, 6])
    assert mask[0, 0] == 255


def test_without_dilation_the_mask_is_the_inverted_alpha() -> None:
    np.testing.assert_array_equal(inpaint_mask(PLACED, ImagingConfig(mask_dilate=0.0)), 255 - PLACED.layer[..., 3])
