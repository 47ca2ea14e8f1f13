import numpy as np
import pytest

from caig_rl.world.scenes import SCENE_SIZE, draw_scene
from caig_rl.world.vocabulary import ATTRIBUTES, TEMPLATES, SceneSpec, caption, draw_spec, named_attributes, partial_caption


def test_a_scene_is_the_same_for_the_same_spec_and_seed():
    spec = SceneSpec(1, 2, 3, 1, 0)
    first, second = (draw_scene(spec, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (SCENE_SIZE, SCENE_SIZE, 3)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_every_value_of_an_attribute_changes_the_picture(attribute: str):
    base = dict(surface=0, wall=0, prop=0, light=0, palette=0)
    pictures = [
        draw_scene(SceneSpec(**{**base, attribute: value}), np.random.default_rng(1)).astype(float)
        for value in range(len(ATTRIBUTES[attribute]))
    ]
    for one in range(len(pictures)):
        for other in range(one):
            assert np.abs(pictures[one] - pictures[other]).mean() > 2


@pytest.mark.parametrize("template", range(len(TEMPLATES)))
def test_a_caption_names_all_five_attributes(template: int):
    rng = np.random.default_rng(template)
    for _ in range(50):
        spec = draw_spec(rng)
        assert named_attributes(caption(spec, template)) == dict(zip(ATTRIBUTES, spec.indices(), strict=True))


def test_a_partial_caption_names_nothing_that_is_not_there():
    rng = np.random.default_rng(0)
    spec = SceneSpec(3, 4, 5, 2, 1)
    for _ in range(50):
        for name, index in named_attributes(partial_caption(spec, rng, keep=0.5)).items():
            assert index == getattr(spec, name)
