from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from caig_rl.imaging.views import judge_view, policy_view, save_png
from tests.imaging.pictures import box_cutout


def test_the_policy_sees_the_product_centred_over_light_grey_at_90_percent() -> None:
    view = policy_view(box_cutout(30, 60), 100)
    assert view.shape == (100, 100, 3)
    rows, columns = np.nonzero((view != 236).any(axis=2))
    assert (rows.min(), rows.max() + 1) == (5, 95)
    assert abs((columns.min() + columns.max() + 1) / 2 - 50) <= 0.5
    np.testing.assert_array_equal(view[50, 50], (180, 40, 30))


def test_a_judge_sees_the_mean_of_each_area() -> None:
    creative = np.zeros((8, 8, 3), dtype=np.uint8)
    creative[:4, :4, 0] = 200
    creative[0:2, 4:8, 1] = 100
    np.testing.assert_array_equal(judge_view(creative, 2), [[[200, 0, 0], [0, 50, 0]], [[0, 0, 0], [0, 0, 0]]])


def test_a_saved_png_reads_back_the_same(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    save_png(image, tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)
