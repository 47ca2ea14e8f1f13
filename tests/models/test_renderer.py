"""The real diffusers pipeline over random tiny weights."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from caig_rl.config.schema import ImagingConfig, RendererConfig
from caig_rl.imaging.composition import product_difference
from caig_rl.imaging.placement import place
from caig_rl.models.renderer import Renderer
from caig_rl.types import Cutout
from tests.models.tiny_renderer import make_tiny_renderer

IMAGING = ImagingConfig(size=128)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = make_tiny_renderer(tmp_path_factory.mktemp("renderer"))
    return Renderer(folder, RendererConfig(steps=2, batch_size=3), IMAGING, threads=1)


def _cutout(seed: int) -> Cutout:
    rgba = np.random.default_rng(seed).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    rgba[..., 3] = 0
    rgba[4:36, 4:26, 3] = 255
    return Cutout(rgba, 1.0, "alpha")


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).max())


def test_creatives_of_one_product_start_from_the_same_noise_and_differ_by_their_words(renderer: Renderer) -> None:
    same, again, other = renderer.render([_cutout(0)], [["a table", "a table", "marble bathroom"]], [5])[0]
    assert _far(same.background, again.background) <= 1
    assert _far(same.background, other.background) > 1


def test_another_noise_seed_paints_another_background(renderer: Renderer) -> None:
    rows = renderer.render([_cutout(0), _cutout(0)], [["a table"], ["a table"]], [5, 6])
    assert _far(rows[0][0].background, rows[1][0].background) > 1


def test_a_creative_does_not_depend_on_its_batch(renderer: Renderer) -> None:
    together = renderer.render([_cutout(0), _cutout(1)], [["a table", "marble"], ["fresh fruit", "soft light"]], [5, 6])
    alone = renderer.render([_cutout(1)], [["soft light"]], [6])
    assert _far(together[1][1].background, alone[0][0].background) <= 1


def test_creatives_have_the_configured_sizes_and_keep_the_product(renderer: Renderer) -> None:
    row = renderer.render([_cutout(2)], [["a table", "marble"]], [9])[0]
    placed = place(_cutout(2), IMAGING, IMAGING.size)
    for rendered in row:
        assert rendered.background.shape == (64, 64, 3) and rendered.creative.shape == (128, 128, 3)
        assert product_difference(rendered.creative, placed, IMAGING.erode_px) == 0


def test_a_prompt_longer_than_the_text_encoder_reads_is_reported(renderer: Renderer, caplog: pytest.LogCaptureFixture) -> None:
    long = "fresh fruit on a kitchen counter, soft light " * 12
    with caplog.at_level(logging.WARNING):
        short_one, long_one = renderer.render([_cutout(0)], [["a table", long]], [5])[0]
    assert (short_one.truncated, long_one.truncated) == (False, True)
    assert "its end has no effect" in caplog.text


def test_a_product_without_prompts_gets_no_creatives(renderer: Renderer) -> None:
    assert [len(row) for row in renderer.render([_cutout(0), _cutout(1)], [[], ["a table"]], [1, 2])] == [0, 1]


def test_lists_of_unequal_length_are_refused(renderer: Renderer) -> None:
    with pytest.raises(ValueError, match="2 cut-outs, 1 lists"):
        renderer.render([_cutout(0), _cutout(1)], [["a table"]], [1, 2])
