"""What holds for every reward model."""

import pickle

import numpy as np
import pytest

from caig_rl.models.reward.interface import RewardError, check_finite, check_lengths, scores_from_comparisons
from caig_rl.types import Product
from tests.tiny import random_picture

MUG, SOAP = Product("mug", "mug", "kitchen"), Product("soap", "soap", "bath")


def test_two_candidates_differ_by_their_comparison_and_scores_have_mean_zero():
    scores = scores_from_comparisons([MUG, MUG], [random_picture(0), random_picture(1)], lambda p, a, b: np.array([1.5], np.float32))
    assert scores[0] - scores[1] == pytest.approx(1.5)
    assert scores.mean() == pytest.approx(0.0)


def test_comparisons_that_agree_with_true_scores_give_them_back_up_to_a_constant():
    truth = {0: 0.3, 1: -1.0, 2: 2.0}
    creatives = [np.full((4, 4, 3), key, np.uint8) for key in truth]

    def compare(products, firsts, seconds):
        return np.array([truth[int(a[0, 0, 0])] - truth[int(b[0, 0, 0])] for a, b in zip(firsts, seconds, strict=True)], np.float32)

    scores = scores_from_comparisons([MUG] * 3, creatives, compare)
    np.testing.assert_allclose(scores - scores[0], np.array(list(truth.values())) - truth[0], atol=1e-6)


def test_creatives_of_different_products_are_never_compared():
    def refuse(products, firsts, seconds):
        raise AssertionError("nothing to compare")

    assert scores_from_comparisons([MUG, SOAP], [random_picture(0), random_picture(1)], refuse).tolist() == [0.0, 0.0]


def test_broken_scores_name_their_products_and_the_error_travels_between_processes():
    with pytest.raises(RewardError, match=r"no finite score.*soap") as caught:
        check_finite(np.array([0.0, np.nan], np.float32), [MUG, SOAP])
    travelled = pickle.loads(pickle.dumps(RewardError(["a"], "the judge gave no verdict")))
    assert caught.value.product_ids == ("soap",)
    assert (travelled.product_ids, str(travelled)) == (("a",), "the judge gave no verdict for 1 creative(s) of product(s) a")


def test_one_creative_a_product():
    with pytest.raises(ValueError, match="2 products for 1 creatives"):
        check_lengths([MUG, SOAP], [random_picture(0), random_picture(1)], [random_picture(0)])
