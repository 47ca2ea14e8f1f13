import numpy as np
import pytest

from caig_rl.nano.eyes import eyes_accuracy
from caig_rl.nano.scenes_data import ScenePictures, draw_pictures
from caig_rl.world.eyes import WIDTHS, load_eyes


@pytest.fixture(scope="module")
def pictures() -> ScenePictures:
    return draw_pictures(600, seed=4242, with_product=0.75, num_products=140)


@pytest.mark.parametrize("name", list(WIDTHS))
def test_eyes_read_at_least_97_in_100_attributes_of_procedural_scenes(name: str, pictures: ScenePictures):
    accuracy = eyes_accuracy(load_eyes(name), pictures)
    assert accuracy["macro"] >= 0.97
    assert min(accuracy.values()) >= 0.95


def test_the_two_sets_of_eyes_are_different_networks():
    shoppers, relevance = (sum(p.numel() for p in load_eyes(name).parameters()) for name in WIDTHS)
    assert shoppers != relevance


def test_eyes_that_look_at_noise_are_not_right(pictures: ScenePictures):
    noise = np.random.default_rng(0).integers(0, 256, pictures.images.shape, dtype=np.uint8)
    blind = ScenePictures(noise, pictures.controls, pictures.specs, pictures.categories)
    assert eyes_accuracy(load_eyes("shoppers"), blind)["macro"] < 0.4
