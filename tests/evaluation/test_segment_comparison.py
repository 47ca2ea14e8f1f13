from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy
from caig_rl.evaluation.segment_comparison import compare_by_segment, ctr_differences, written_for_each

SHARES = {"teens": 0.75, "adults": 0.25}


def _policy(names: str, *ctrs: list[float]) -> EvaluatedPolicy:
    """Two prompts a product."""
    prompts = tuple((f"{name}-1", f"{name}-2") for name in names)
    return EvaluatedPolicy(tuple(names), prompts, np.zeros((len(names), 2)), np.array(ctrs), np.full((len(names), 2), 0.5))


TEENS, ADULTS = _policy("abc", [0.02, 0.04], [0.03, 0.03], [0.05, 0.05]), _policy("abc", [0.01, 0.01], [0.02, 0.02], [0.03, 0.05])
TOLD = written_for_each([TEENS, ADULTS], SHARES)
EVERYBODY = replace(
    _policy("abc", [0.02, 0.02], [0.03, 0.03], [0.04, 0.04]),
    segment_ctrs={
        "adults": np.array([[0.02, 0.02], [0.02, 0.02], [0.03, 0.03]]),
        "teens": np.array([[0.02, 0.02], [0.02, 0.02], [0.04, 0.06]]),
    },
)


def test_evaluations_of_each_segment_become_one_whose_means_go_by_shares() -> None:
    assert TOLD.prompts[0] == ("a-1", "a-2", "a-1", "a-2") and TOLD.num_prompts == 2
    assert TOLD.ctrs is not None and TOLD.per_product(TOLD.ctrs) == pytest.approx([0.025, 0.0275, 0.0475])
    for name, one in (("teens", TEENS), ("adults", ADULTS)):
        assert one.ctrs is not None and TOLD.ctrs_by_segment()[name] == pytest.approx(one.ctrs.mean(axis=1))


def test_a_product_that_a_segment_lacks_is_left_out_of_all() -> None:
    assert written_for_each([TEENS, ADULTS.only({"a", "c"})], SHARES).product_ids == ("a", "c")
    with pytest.raises(ValueError, match="0 products"):
        written_for_each([TEENS.only({"a"}), ADULTS.only({"c"})], SHARES)


def test_without_a_judge_the_prompts_are_joined_and_no_rates_are_made_up() -> None:
    parts = [replace(one, ctrs=None, relevances=None) for one in (TEENS, ADULTS)]
    joined = written_for_each(parts, SHARES)
    assert joined.ctrs is None and joined.ctrs_by_segment() == {} and compare_by_segment(joined, joined) == ()


def test_the_summary_has_a_row_a_segment_worked_out_by_hand() -> None:
    after = written_for_each([_policy("ab", [0.06, 0.06], [0.03, 0.03]), ADULTS.only({"a", "b"})], SHARES)
    teens, adults = compare_by_segment(TOLD, after, resamples=200)
    assert (teens.segment, teens.share, adults.share) == ("teens", 0.75, 0.25)
    assert (teens.ctr.initial, teens.ctr.final, teens.ctr.lift) == pytest.approx((0.03, 0.045, 0.5))
    assert adults.ctr.lift == pytest.approx(0.0) and adults.ctr.ci95 == pytest.approx((0.0, 0.0))
    assert compare_by_segment(EVERYBODY, EVERYBODY) == ()


def test_the_difference_is_taken_product_by_product_and_segment_by_segment() -> None:
    found = ctr_differences(TOLD, EVERYBODY)
    assert found.by_segment["teens"] == pytest.approx([0.01, 0.01, 0.0])
    assert found.by_segment["adults"] == pytest.approx([-0.01, 0.0, 0.01])
    assert found.overall == pytest.approx([0.005, 0.0075, 0.0025]) and found.mean == pytest.approx(0.005)
    assert found.ci95 is not None and found.ci95.low < 0.005 < found.ci95.high


def test_the_difference_of_the_means_is_the_mean_of_the_differences() -> None:
    """One for everybody has, by its own shoppers, the mean over segments by shares: so the two are comparable."""
    shares = np.array(list(SHARES.values()))
    ctrs = np.tensordot(shares, np.stack([EVERYBODY.segment_ctrs[name] for name in SHARES]), axes=1)
    other = replace(EVERYBODY, ctrs=ctrs)
    assert TOLD.ctrs is not None and other.ctrs is not None
    assert ctr_differences(TOLD, other).mean == pytest.approx(TOLD.mean(TOLD.ctrs) - other.mean(other.ctrs))


def test_only_products_that_both_were_measured_on_count() -> None:
    found = ctr_differences(TOLD, EVERYBODY.only({"c", "b"}))
    assert found.product_ids == ("b", "c") and found.overall == pytest.approx([0.0075, 0.0025])
    assert ctr_differences(TOLD, EVERYBODY.only({"b"})).ci95 is None


def test_a_policy_that_was_not_judged_among_the_segments_is_not_compared() -> None:
    with pytest.raises(ValueError, match="among 'teens' are known for only one"):
        ctr_differences(TOLD, replace(EVERYBODY, segment_ctrs={}))
    with pytest.raises(ValueError, match="among 'any segment'"):
        ctr_differences(EVERYBODY, EVERYBODY)
