from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from caig_rl.ablation.best_of_n import best_of_n, first_pick, pick_rates, pick_shares
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.types import PromptCheck


def test_two_of_three_pick_the_best_in_two_subsets_of_three_and_never_the_worst() -> None:
    assert pick_shares(np.array([[0.1, 0.9, 0.5]]), 2) == pytest.approx(np.array([[0.0, 2 / 3, 1 / 3]]))


def test_shares_are_those_of_counting_every_subset() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 6))
    for n in range(1, 7):
        counted = np.zeros_like(scores)
        subsets = list(combinations(range(6), n))
        for row in range(3):
            for subset in subsets:
                counted[row, max(subset, key=lambda index: scores[row, index])] += 1 / len(subsets)
        assert pick_shares(scores, n) == pytest.approx(counted)


def test_equal_scores_share_what_they_are_picked() -> None:
    assert pick_shares(np.array([[1.0, 1.0, 0.0]]), 3) == pytest.approx(np.array([[0.5, 0.5, 0.0]]))


def test_best_of_one_is_the_mean_and_best_of_all_the_single_best() -> None:
    ctrs = np.array([[0.01, 0.03], [0.04, 0.02]])
    policy = EvaluatedPolicy(("a", "b"), (("x", "y"), ("z", "w")), np.array([[0.0, 1.0], [0.0, 1.0]]), ctrs, ctrs * 10)
    one, two = best_of_n(policy, 1), best_of_n(policy, 2)
    assert one.ctrs == pytest.approx(np.array([[0.02], [0.03]]))
    assert two.ctrs == pytest.approx(np.array([[0.03], [0.02]])) and two.relevances == pytest.approx(np.array([[0.3], [0.2]]))
    assert (one.prompts, two.prompts, first_pick(policy, 2)) == ((("x",), ("z",)), (("y",), ("w",)), [1, 1])
    with pytest.raises(ValueError, match="best of 3 needs at least 3 creatives a product, not 2"):
        best_of_n(policy, 3)


def test_rates_of_what_is_picked_are_weighed_alike() -> None:
    trapped, sound = PromptCheck(False, True, ("neon",)), PromptCheck(True, False, ("oak",))
    policy = EvaluatedPolicy(("a",), (("x", "y", "z"),), np.array([[0.1, 0.9, 0.5]]), checks=((sound, trapped, sound),))
    assert pick_rates(policy, 2) == pytest.approx({"malformed": 1 / 3, "trap": 2 / 3})
    assert pick_rates(policy, 3) == {"malformed": 0.0, "trap": 1.0}
    unknown = replace(policy, checks=((replace(sound, trap=None),) * 3,))
    assert pick_rates(unknown, 1) == {"malformed": pytest.approx(1.0), "trap": None}
    assert pick_rates(replace(policy, checks=None), 1) == {"malformed": None, "trap": None}
