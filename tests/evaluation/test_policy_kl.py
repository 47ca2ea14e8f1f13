from __future__ import annotations

import math

import numpy as np
import pytest

from caig_rl.evaluation.policy_kl import answer_kl, answer_kls
from caig_rl.types import Admission, PolicyVersion, Rollout, RolloutGroup


def test_the_estimate_of_one_answer_is_worked_out_by_hand() -> None:
    """r - 1 - log r is 1 - log 2 at r = 2, and log 2 - 1/2 at r = 1/2."""
    policy, reference = [math.log(0.25), math.log(0.5)], [math.log(0.5), math.log(0.25)]
    assert answer_kl(policy, reference) == pytest.approx(0.5)
    assert answer_kl(policy, policy) == 0.0
    with pytest.raises(ValueError, match="2 log-probs of the policy for 1"):
        answer_kl(policy, [0.0])


def test_over_many_answers_of_a_policy_it_is_the_kl() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    tokens = np.random.default_rng(0).choice(3, size=40_000, p=p)
    estimates = [answer_kl([math.log(p[token])], [math.log(q[token])]) for token in tokens]
    assert np.mean(estimates) == pytest.approx(float(np.sum(p * np.log(p / q))), abs=0.01)


def test_each_answer_of_each_product_has_its_own() -> None:
    one, two = Rollout("a", (1,), (-1.0,)), Rollout("b", (2, 3), (-1.0, -2.0))
    group = RolloutGroup(Admission(0, -1, "mug", 5), PolicyVersion(0, 3), "write", (one, two))
    found = answer_kls([group, group], [[(-1.0,), (-1.0, -2.0)], [(-2.0,), (-1.0, -2.0)]])
    assert found.tolist() == [[0.0, 0.0], [pytest.approx(math.exp(-1.0)), 0.0]]
