"""Stable Diffusion 1.5 with its ControlNet, shrunk: the published kinds of blocks, loaded and painted with by the real renderer."""

from pathlib import Path

import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig, RendererConfig
from caig_rl.models.renderer import Renderer
from caig_rl.types import Cutout
from tests.production import write_shrunk_renderer

pytestmark = pytest.mark.slow
IMAGING = ImagingConfig(size=128)


def cutout() -> Cutout:
    rgba = np.zeros((48, 40, 4), dtype=np.uint8)
    rgba[4:44, 4:36] = (160, 20, 40, 255)
    return Cutout(rgba, 1.0, "alpha")


def test_it_paints_different_grounds_for_different_words_and_leaves_the_product_as_it_is(tmp_path: Path):
    renderer = Renderer(write_shrunk_renderer(tmp_path), RendererConfig(size=64, steps=2, guidance_scale=7.5), IMAGING, threads=1)
    (painted,) = renderer.render([cutout()], [["a red mug on a table", "fresh fruit, soft light", "a red mug on a table"]], [7])
    first, other, again = (one.background.astype(int) for one in painted)
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0
    centre = painted[0].creative[int(128 * IMAGING.baseline) - 20, 64]
    assert tuple(centre) == (160, 20, 40)
