from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from caig_rl.evaluation.category_comparison import compare_by_category
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy

BEFORE = EvaluatedPolicy(
    product_ids=("a", "b", "c"),
    prompts=(("x",), ("y",), ("z",)),
    scores=np.zeros((3, 1)),
    ctrs=np.array([[0.01], [0.02], [0.04]]),
    relevances=np.array([[0.2], [0.4], [0.6]]),
    unseen=(False, True, False),
)
AFTER = replace(BEFORE, ctrs=np.array([[0.02], [0.02], [0.06]]), relevances=np.array([[0.6], [0.5], [0.6]]))


def test_seen_and_unseen_categories_have_the_figures_worked_out_by_hand() -> None:
    found = compare_by_category(BEFORE, AFTER, {"a": 0.03, "b": 0.05, "c": 0.07}, resamples=200)
    assert found is not None and found.seen is not None and found.unseen is not None
    assert found.seen.ctr is not None and found.unseen.ctr is not None
    assert (found.seen.products, found.unseen.products) == (2, 1)
    assert found.seen.ctr.lift == pytest.approx(0.08 / 0.05 - 1) and found.unseen.ctr.lift == 0.0
    assert found.seen.ctr.ci95 is not None and found.unseen.ctr.ci95 is None
    assert (found.seen.ctr.ceiling, found.unseen.ctr.ceiling) == pytest.approx((0.05, 0.05))
    assert found.seen.relevance is not None and found.seen.relevance.final == pytest.approx(0.6)


def test_without_unseen_categories_there_is_nothing_to_tell_apart() -> None:
    for marks in ((), (False, False, False)):
        assert compare_by_category(replace(BEFORE, unseen=marks), replace(AFTER, unseen=marks), {}) is None


def test_only_products_that_both_were_measured_on_count() -> None:
    found = compare_by_category(BEFORE, AFTER.only({"c", "a"}), {}, resamples=200)
    assert found is not None and found.unseen is None
    assert found.seen is not None and found.seen.products == 2 and found.seen.ctr is not None and found.seen.ctr.ceiling is None


def test_without_a_judge_the_products_are_counted_and_nothing_is_claimed() -> None:
    ends = [replace(one, ctrs=None, relevances=None) for one in (BEFORE, AFTER)]
    found = compare_by_category(*ends, {})
    assert found is not None and found.unseen is not None
    assert (found.unseen.products, found.unseen.ctr, found.unseen.relevance) == (1, None, None)
