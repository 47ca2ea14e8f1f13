from __future__ import annotations

import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig
from caig_rl.imaging.placement import place
from tests.imaging.pictures import box_cutout, textured_cutout


def test_the_longest_side_is_the_configured_share_and_the_foot_stands_on_the_baseline() -> None:
    placed = place(box_cutout(40, 60), ImagingConfig(product_scale=0.5, baseline=0.75), 240)
    assert placed.box == (80, 60, 160, 180)
    rows, columns = np.nonzero(placed.layer[..., 3] > 127)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == placed.box


def test_a_tall_product_that_would_leave_the_frame_is_moved_down() -> None:
    placed = place(box_cutout(20, 80), ImagingConfig(product_scale=0.9, baseline=0.6), 200)
    assert placed.box == (78, 0, 123, 180) or placed.box == (77, 0, 122, 180)


@pytest.mark.parametrize("width, height", [(3000, 10), (10, 3000), (900, 900)])
def test_a_product_larger_than_the_frame_fits_in(width: int, height: int) -> None:
    placed = place(box_cutout(width, height), ImagingConfig(product_scale=0.95), 64)
    left, top, right, bottom = placed.box
    assert placed.layer.shape == (64, 64, 4)
    assert 0 <= left < right <= 64
    assert 0 <= top < bottom <= 64


def test_hidden_colour_is_not_seen_after_placement() -> None:
    cutout = textured_cutout()
    hidden = cutout.rgba.copy()
    hidden[hidden[..., 3] == 0] = (0, 255, 0, 0)
    black = cutout.rgba.copy()
    black[black[..., 3] == 0] = 0
    layers = []
    for rgba in (hidden, black):
        placed = place(type(cutout)(rgba=rgba, confidence=1.0, method="alpha"), ImagingConfig(), 128)
        layers.append(placed.layer.astype(int) * (placed.layer[..., 3:] > 0))
    np.testing.assert_array_equal(*layers)
