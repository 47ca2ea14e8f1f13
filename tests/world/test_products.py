import numpy as np
import pytest

from caig_rl.world.products import CATEGORIES, WorldProducts, world_cutout
from caig_rl.world.suitability import SUITABLE


def test_there_are_at_least_twelve_categories_and_each_has_common_sense():
    assert len(CATEGORIES) >= 12
    assert set(CATEGORIES) == set(SUITABLE)


def test_a_product_has_alpha_and_is_cropped_to_itself():
    for number in range(len(CATEGORIES)):
        rgba = world_cutout(0, number).rgba
        assert rgba.shape[2] == 4
        assert 0.1 < (rgba[..., 3] > 127).mean() < 1
        assert rgba[:2, :, 3].max() == 0 or rgba.shape[0] == 256


def test_the_same_world_draws_the_same_products_and_another_world_others():
    first, again, other = WorldProducts(0, 28), WorldProducts(0, 28), WorldProducts(1, 28)
    assert first.products == again.products
    assert [p.title for p in first.products] != [p.title for p in other.products]
    ids = [p.product_id for p in first.products[:3]]
    for one, two in zip(first.cutouts(ids), again.cutouts(ids), strict=True):
        np.testing.assert_array_equal(one.rgba, two.rgba)


def test_splits_share_no_product():
    ids = [{p.product_id for p in WorldProducts(0, 50, split).products} for split in ("train", "eval", "pretrain", "reward")]
    assert len(set.union(*ids)) == 200


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'test' is not one of train"):
        WorldProducts(0, 1, "test")
