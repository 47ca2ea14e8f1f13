from __future__ import annotations

import cv2
import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.composition import compose
from caig_rl.imaging.placement import PlacedProduct, place
from caig_rl.imaging.usability import check_usability, extended_share
from caig_rl.types import ImageArray, RenderReport
from tests.imaging.pictures import box_cutout

CONFIG = ImagingConfig(size=256)


def scene(wall: tuple[int, int, int], floor: tuple[int, int, int], size: int = 64) -> ImageArray:
    image = np.full((size, size, 3), wall, dtype=np.uint8)
    image[int(0.6 * size) :] = floor
    return image


def judge(background: ImageArray, placed: PlacedProduct) -> RenderReport:
    return check_usability(compose(background, placed), placed, CONFIG)


@pytest.mark.parametrize("product", [(250, 250, 250), (20, 20, 20), (180, 40, 30), (120, 90, 60)])
@pytest.mark.parametrize("wall", [(245, 245, 245), (30, 30, 35), (180, 60, 40), (90, 130, 90)])
@pytest.mark.parametrize("floor", [(240, 240, 238), (120, 90, 60), (25, 20, 20)])
def test_ordinary_scenes_pass_even_in_the_products_own_colour(
    product: tuple[int, int, int], wall: tuple[int, int, int], floor: tuple[int, int, int]
) -> None:
    assert judge(scene(wall, floor), place(box_cutout(colour=product), CONFIG, 256)) == RenderReport(usable=True)


def test_a_background_that_grows_the_product_on_every_side_is_product_extended() -> None:
    placed = place(box_cutout(colour=(180, 40, 30)), CONFIG, 256)
    background = cv2.resize(scene((230, 230, 235), (120, 110, 100)), (256, 256))
    left, top, right, bottom = placed.box
    background[top - 25 : bottom + 25, left - 25 : right + 25] = (180, 40, 30)
    assert judge(background, placed) == RenderReport(usable=False, reason="product_extended")


def test_the_blurred_product_that_a_small_renderer_leaves_under_the_paste_is_no_extension() -> None:
    placed = place(box_cutout(colour=(180, 40, 30)), CONFIG, 256)
    kept = compose(cv2.resize(scene((230, 230, 235), (120, 110, 100)), (256, 256)), placed)
    rendered = cv2.resize(kept, (64, 64), interpolation=cv2.INTER_AREA)
    assert judge(rendered, placed) == RenderReport(usable=True)


def test_a_shadow_at_the_foot_of_a_dark_product_is_no_extension() -> None:
    placed = place(box_cutout(colour=(25, 25, 25)), CONFIG, 256)
    background = cv2.resize(scene((230, 230, 235), (200, 200, 200)), (256, 256))
    left, _, right, bottom = placed.box
    background[bottom - 4 : bottom + 24, left - 10 : right + 10] = (30, 30, 30)
    assert 0.0 < extended_share(compose(background, placed), placed) < 0.3


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_background_of_one_colour_is_blank(grey: int) -> None:
    background = np.full((64, 64, 3), grey, dtype=np.uint8)
    background[0, 0] ^= 1
    assert judge(background, place(box_cutout(), CONFIG, 256)) == RenderReport(usable=False, reason="blank")


def test_one_changed_pixel_is_product_changed() -> None:
    placed = place(box_cutout(colour=(180, 40, 30)), CONFIG, 256)
    background = scene((230, 230, 235), (120, 110, 100))
    creative = compose(background, placed)
    left, top, right, bottom = placed.box
    creative[(top + bottom) // 2, (left + right) // 2, 0] += 1
    changed = RenderReport(usable=False, reason="product_changed", product_difference=1)
    assert check_usability(creative, placed, CONFIG) == changed
