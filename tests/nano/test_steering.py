"""Words steer the picture: attributes named in a prompt are recognised in the rendered background."""

import numpy as np
import pytest

from caig_rl.models.renderer import Renderer
from caig_rl.nano.check import measure_steering
from caig_rl.world.products import WorldProducts


def test_most_named_attributes_are_recognised(nano_renderer: Renderer):
    assert measure_steering(nano_renderer, 48)[0]["macro"] >= 0.75


@pytest.mark.slow
def test_85_in_100_named_attributes_are_recognised_over_500_prompts(nano_renderer: Renderer):
    shares, _ = measure_steering(nano_renderer, 500)
    assert shares["macro"] >= 0.85, shares
    assert min(shares[name] for name in ("surface", "wall", "prop", "light")) >= 0.70, shares


def test_different_words_from_the_same_noise_give_different_pictures(nano_renderer: Renderer):
    cutout = WorldProducts(0, 1, "eval").cutouts(["w0-1000000"])
    ((snow, neon),) = nano_renderer.render(
        cutout, [["on fresh snow, grey mountains behind, soft light", "on oak table, neon city behind, gold confetti"]], [3]
    )
    assert np.abs(snow.background.astype(float) - neon.background).mean() > 20
