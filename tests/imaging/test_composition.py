from __future__ import annotations

import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.composition import compose, exact_mask, product_difference
from caig_rl.imaging.placement import place
from tests.imaging.pictures import box_cutout, textured_cutout


@pytest.mark.parametrize("background_side", [32, 256, 400])
@pytest.mark.parametrize("erode_px", [0, 2, 5])
def test_product_pixels_are_exact_inside_the_eroded_mask(background_side: int, erode_px: int) -> None:
    config = ImagingConfig(size=256, erode_px=erode_px)
    placed = place(textured_cutout(), config, 256)
    background = np.random.default_rng(1).integers(0, 256, (background_side, background_side, 3), dtype=np.uint8)
    creative = compose(background, placed)
    exact = exact_mask(placed, erode_px)
    assert exact.sum() > 1000
    np.testing.assert_array_equal(creative[exact], placed.layer[..., :3][exact])
    assert product_difference(creative, placed, erode_px) == 0


def test_outside_the_product_the_creative_is_the_background() -> None:
    config = ImagingConfig(size=128)
    placed = place(box_cutout(), config, 128)
    background = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    outside = placed.layer[..., 3] == 0
    np.testing.assert_array_equal(compose(background, placed)[outside], background[outside])


def test_half_transparent_pixels_are_the_mean_of_product_and_background() -> None:
    config = ImagingConfig(size=64)
    placed = place(box_cutout(), config, 64)
    placed.layer[..., 3] = 0
    placed.layer[10, 10] = (200, 100, 0, 128)
    creative = compose(np.full((64, 64, 3), 100, dtype=np.uint8), placed)
    np.testing.assert_array_equal(creative[10, 10], np.rint(np.array([200, 100, 0]) * 128 / 255 + 100 * 127 / 255))


def test_erosion_takes_the_given_pixels_off_every_side() -> None:
    placed = place(box_cutout(), ImagingConfig(), 128)
    placed.layer[...] = 0
    placed.layer[20:60, 30:80, 3] = 255
    rows, columns = np.nonzero(exact_mask(placed, 3))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (23, 56, 33, 76)


def test_a_changed_product_pixel_is_measured_in_grey_levels() -> None:
    config = ImagingConfig(size=128)
    placed = place(box_cutout(colour=(100, 100, 100)), config, 128)
    creative = compose(np.zeros((128, 128, 3), dtype=np.uint8), placed)
    row, column = np.argwhere(exact_mask(placed, config.erode_px))[50]
    creative[row, column, 1] += 7
    assert product_difference(creative, placed, config.erode_px) == 7
