import numpy as np
import pytest

from caig_rl.config.schema import WorldConfig
from caig_rl.world.products import CATEGORIES, WorldProducts, unseen_categories, world_cutout
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
    ids = [{p.product_id for p in WorldProducts(0, 50, split).products} for split in ("train", "eval", "pretrain", "reward", "guard")]
    assert len(set.union(*ids)) == 250


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'test' is not one of train"):
        WorldProducts(0, 1, "test")


def test_categories_kept_from_training_are_the_worlds_own_and_grow_with_their_number():
    assert unseen_categories(0, 0) == ()
    two, three = unseen_categories(3, 2), unseen_categories(3, 3)
    assert three[:2] == two and len(set(three)) == 3 and set(three) <= set(CATEGORIES)
    assert len({unseen_categories(seed, 2) for seed in range(8)}) > 1


def test_as_many_categories_may_be_kept_from_training_as_the_configuration_allows():
    most = len(CATEGORIES) - 2
    assert len(unseen_categories(0, WorldConfig(unseen_categories=most).unseen_categories)) == most
    with pytest.raises(ValueError, match="less than or equal to 12"):
        WorldConfig(unseen_categories=most + 1)
    with pytest.raises(ValueError, match="0 to 12 can"):
        unseen_categories(0, most + 1)


def test_products_without_a_category_are_as_many_and_otherwise_the_same():
    whole = {product.product_id: product for product in WorldProducts(0, 28).products}
    part = WorldProducts(0, 24, without=("mug", "lamp"))
    assert len(part.products) == 24 and not {"mug", "lamp"} & {product.category for product in part.products}
    assert all(whole[product.product_id] == product for product in part.products)
    assert len(part.cutouts([part.products[-1].product_id])) == 1


def test_the_evaluations_products_are_the_same_and_say_which_are_of_a_category_kept_from_training():
    plain, flagged = WorldProducts(0, 28, "eval"), WorldProducts(0, 28, "eval", flagged=("mug",))
    assert plain.products == flagged.products and repr(plain.products) == repr(flagged.products)
    assert {product.category for product in flagged.products if product.unseen_category} == {"mug"}
    assert not any(product.unseen_category for product in plain.products)
