from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.evaluation.policy_evaluation import EvaluatedPolicy, compare_on_shared_products, compare_policies, mean_ceiling
from caig_rl.types import PromptCheck

BEFORE = EvaluatedPolicy(
    product_ids=("a", "b"),
    prompts=(("oak", "oak"), ("oak", "linen")),
    scores=np.array([[0.0, 1.0], [2.0, 3.0]]),
    ctrs=np.array([[0.01, 0.03], [0.02, 0.02]]),
    relevances=np.array([[0.5, 0.7], [0.6, 0.6]]),
)
AFTER = replace(
    BEFORE,
    prompts=(("ash", "elm"), ("fir", "oak")),
    scores=BEFORE.scores + 1,
    ctrs=np.array([[0.02, 0.04], [0.02, 0.02]]),
    relevances=np.array([[0.6, 0.6], [0.5, 0.5]]),
)


def test_the_comparison_has_the_figures_worked_out_by_hand() -> None:
    found = compare_policies(BEFORE, AFTER, resamples=500, seed=0)
    assert (found.ctr_initial, found.ctr_final, found.lift) == pytest.approx((0.02, 0.025, 0.25))
    assert found.ci95 == pytest.approx((0.0, 0.5))
    assert (found.relevance_initial, found.relevance_final) == pytest.approx((0.6, 0.55))
    assert (found.score_initial, found.score_final) == (1.5, 2.5)
    assert (found.distinct_initial, found.distinct_final) == (0.5, 1.0)
    assert (found.num_products, found.share_improved) == (2, 0.5)


def test_a_policy_against_itself_has_no_lift_and_no_width() -> None:
    found = compare_policies(BEFORE, BEFORE, resamples=200)
    assert (found.lift, found.ci95, found.share_improved) == (0.0, (0.0, 0.0), 0.0)


def test_without_a_judge_rates_are_none_and_scores_remain() -> None:
    found = compare_policies(replace(BEFORE, ctrs=None, relevances=None), replace(AFTER, ctrs=None, relevances=None))
    assert (found.lift, found.ci95, found.ctr_summary(None), found.relevance_summary()) == (None, None, None, None)
    assert found.score_final == 2.5


def test_one_product_has_a_lift_but_no_interval() -> None:
    def first(policy: EvaluatedPolicy) -> EvaluatedPolicy:
        assert policy.ctrs is not None and policy.relevances is not None
        return EvaluatedPolicy(("a",), policy.prompts[:1], policy.scores[:1], policy.ctrs[:1], policy.relevances[:1])

    found = compare_policies(first(BEFORE), first(AFTER))
    assert found.lift == pytest.approx(0.5)
    assert found.ci95 is None


def test_the_summary_takes_the_figures_over() -> None:
    found = compare_policies(BEFORE, AFTER, resamples=200)
    ctr, relevance = found.ctr_summary(ceiling=0.03), found.relevance_summary()
    assert ctr is not None and relevance is not None
    assert (ctr.lift, ctr.ci95, ctr.ceiling) == (found.lift, found.ci95, 0.03)
    assert relevance.final == found.relevance_final


def test_policies_measured_on_different_products_are_refused() -> None:
    with pytest.raises(ValueError, match="different products"):
        compare_policies(BEFORE, replace(AFTER, product_ids=("b", "a")))


def test_a_judged_policy_is_not_compared_with_an_unjudged_one() -> None:
    with pytest.raises(ValueError, match="only one of the two"):
        compare_policies(BEFORE, replace(AFTER, ctrs=None, relevances=None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": np.zeros((2, 3))}, r"scores must be .* \(2, 2\), not \(2, 3\)"),
        ({"ctrs": np.array([[0.1, 0.1], [0.1, np.nan]])}, "ctrs of product 'b'"),
        ({"prompts": (("oak",), ("oak", "elm"))}, r"rows of \[1, 2\]"),
        ({"relevances": None}, "only one of them"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(BEFORE, **changes)  # type: ignore[arg-type]


def test_a_product_left_out_of_either_side_counts_for_neither() -> None:
    """Product "a" is missing after, "b" is in both: the figures are those of "b" alone."""
    found = compare_on_shared_products(BEFORE, AFTER.only({"b"}), resamples=200)
    assert (found.num_products, found.ctr_initial, found.ctr_final) == (1, 0.02, 0.02)
    assert (found.relevance_initial, found.relevance_final) == pytest.approx((0.6, 0.5))
    assert compare_on_shared_products(BEFORE, AFTER, resamples=200) == compare_policies(BEFORE, AFTER, resamples=200)


def test_two_evaluations_without_a_product_in_common_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="0 products"):
        compare_on_shared_products(BEFORE.only({"a"}), AFTER.only({"b"}))


FINE, MALFORMED = PromptCheck(False, False, ("oak",), "oak"), PromptCheck(True, True, ("neon",), "neon")
CHECKED = replace(BEFORE, checks=((FINE, FINE), (FINE, MALFORMED)), unseen=(False, True))


def test_the_comparison_says_what_the_prompts_are_like() -> None:
    prompts = compare_policies(CHECKED, replace(CHECKED, checks=((FINE, FINE), (FINE, FINE))), resamples=200).prompts_summary()
    assert prompts is not None
    assert (prompts.initial.malformed, prompts.final.malformed) == (0.25, 0.0)
    assert (prompts.initial.trap, prompts.initial.commonest_background, prompts.final.commonest_background) == (0.25, 0.75, 1.0)


def test_prompts_that_were_not_checked_on_one_side_are_not_compared() -> None:
    assert compare_policies(BEFORE, CHECKED, resamples=200).prompts_summary() is None


def test_checks_and_marks_go_with_their_products() -> None:
    one = CHECKED.only({"b"})
    assert (one.checks, one.unseen) == (((FINE, MALFORMED),), (True,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"checks": ((FINE,), (FINE, FINE))}, "a check of its own"), ({"unseen": (True,)}, "1 marks of unseen categories for 2 products")],
)
def test_checks_and_marks_that_do_not_fit_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(CHECKED, **changes)  # type: ignore[arg-type]


def test_a_checkpoint_keeps_checks_and_marks_and_one_of_before_has_none() -> None:
    content = json.loads(json.dumps(MeasuredPolicy(CHECKED, {}).to_json()))
    restored = MeasuredPolicy.from_json(content).evaluated
    assert (restored.checks, restored.unseen) == (CHECKED.checks, CHECKED.unseen)
    old = {key: value for key, value in content.items() if key not in ("checks", "unseen")}
    assert MeasuredPolicy.from_json(old).evaluated.health() is None


@pytest.mark.parametrize(("ceilings", "mean"), [({"a": 0.02, "b": 0.04}, 0.03), ({"a": 0.02}, None), ({}, None)])
def test_a_ceiling_is_that_of_all_products_or_none(ceilings: dict[str, float], mean: float | None) -> None:
    assert mean_ceiling(ceilings, ("a", "b")) == mean


def test_a_policys_kl_has_an_interval_over_products_and_stays_in_a_checkpoint() -> None:
    measured = MeasuredPolicy(AFTER, {}, {}, ()).with_kls(np.array([[1.0, 3.0], [5.0, 7.0]]))
    found = measured.evaluated.kl()
    assert found is not None and found[0] == 4.0
    assert found[1] == pytest.approx((4.0 - 12.706205 * 2.0, 4.0 + 12.706205 * 2.0), abs=1e-4)
    assert measured.evaluated.only({"b"}).kl() == (6.0, None)
    assert measured.first(1).evaluated.kls is not None and measured.first(1).evaluated.kls.tolist() == [[1.0], [5.0]]
    content = json.loads(json.dumps(measured.to_json()))
    restored = MeasuredPolicy.from_json(content).evaluated
    assert restored.kls is not None and restored.kls.tolist() == [[1.0, 3.0], [5.0, 7.0]]
    del content["kls"]
    assert MeasuredPolicy.from_json(content).evaluated.kl() is None and AFTER.kl() is None


def test_kls_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kls must be \(products, prompts\) = \(2, 2\), not \(2, 1\)"):
        replace(AFTER, kls=np.zeros((2, 1)))


SHARES = {"teens": 0.75, "adults": 0.25}
OF_SEGMENTS = EvaluatedPolicy(
    product_ids=("a", "b"),
    prompts=(("t1", "t2", "a1", "a2"), ("t3", "t4", "a3", "a4")),
    scores=np.array([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]),
    ctrs=np.array([[0.01, 0.03, 0.04, 0.06], [0.02, 0.02, 0.05, 0.05]]),
    relevances=np.array([[0.4, 0.4, 0.8, 0.8], [0.4, 0.4, 0.8, 0.8]]),
    checks=((FINE, FINE, FINE, MALFORMED), (FINE, FINE, FINE, FINE)),
    shares=SHARES,
)


def test_a_mean_counts_each_segment_by_its_share() -> None:
    assert OF_SEGMENTS.ctrs is not None and OF_SEGMENTS.relevances is not None
    assert OF_SEGMENTS.per_product(OF_SEGMENTS.ctrs) == pytest.approx([0.75 * 0.02 + 0.25 * 0.05] * 2)
    assert OF_SEGMENTS.mean(OF_SEGMENTS.relevances) == pytest.approx(0.5)
    found = compare_policies(BEFORE, OF_SEGMENTS, resamples=200)
    assert (found.ctr_initial, found.ctr_final, found.relevance_final) == pytest.approx((0.02, 0.0275, 0.5))
    assert found.score_final == pytest.approx(np.mean([0.75 * 0.5 + 0.25 * 2.5, 0.75 * 4.5 + 0.25 * 6.5]))
    by_segment = OF_SEGMENTS.ctrs_by_segment()
    assert by_segment["teens"] == pytest.approx([0.02, 0.02]) and by_segment["adults"] == pytest.approx([0.05, 0.05])


def test_the_first_prompts_are_the_first_of_each_segment() -> None:
    first = OF_SEGMENTS.first(1)
    assert (OF_SEGMENTS.num_prompts, first.num_prompts, first.prompts[0]) == (2, 1, ("t1", "a1"))
    assert first.ctrs is not None and first.ctrs.tolist() == [[0.01, 0.04], [0.02, 0.05]]
    assert first.checks == ((FINE, FINE), (FINE, FINE)) and first.shares == SHARES
    with pytest.raises(ValueError, match="2 prompts a product, not 3"):
        OF_SEGMENTS.first(3)


def test_prompts_for_everybody_have_the_ctrs_that_each_segment_gives_them() -> None:
    judged = replace(BEFORE, segment_ctrs={"teens": np.array([[0.01, 0.02], [0.03, 0.04]])})
    assert judged.ctrs_by_segment()["teens"] == pytest.approx([0.015, 0.035])
    assert judged.only({"b"}).first(1).ctrs_by_segment()["teens"] == pytest.approx([0.03])
    assert BEFORE.ctrs_by_segment() == {}
    with pytest.raises(ValueError, match="segment 'teens' must be"):
        replace(BEFORE, segment_ctrs={"teens": np.zeros((2, 1))})
    with pytest.raises(ValueError, match="4 prompts a product cannot be as many for each of 3 segments"):
        replace(OF_SEGMENTS, shares={"x": 0.2, "y": 0.2, "z": 0.6})


def test_a_checkpoint_keeps_what_was_measured_of_segments_and_one_of_before_has_none() -> None:
    judged = replace(BEFORE, segment_ctrs={"teens": np.array([[0.01, 0.02], [0.03, 0.04]])})
    for one in (judged, OF_SEGMENTS):
        content = json.loads(json.dumps(MeasuredPolicy(one, {}).to_json()))
        again = MeasuredPolicy.from_json(content).evaluated
        assert again.shares == one.shares
        assert {name: row.tolist() for name, row in again.ctrs_by_segment().items()} == {
            name: row.tolist() for name, row in one.ctrs_by_segment().items()
        }
        old = {key: value for key, value in content.items() if key not in ("shares", "segment_ctrs")}
        assert MeasuredPolicy.from_json(old).evaluated.ctrs_by_segment() == {}


def test_the_kls_of_each_segments_answers_stand_beside_its_prompts_and_count_by_its_share() -> None:
    """Answers come segment by segment: teens' of products a and b, then adults'."""
    measured = MeasuredPolicy(OF_SEGMENTS, {}).with_kls(np.array([[1.0, 3.0], [2.0, 2.0], [5.0, 7.0], [6.0, 6.0]]))
    assert measured.evaluated.kls is not None and measured.evaluated.kls.tolist() == [[1.0, 3.0, 5.0, 7.0], [2.0, 2.0, 6.0, 6.0]]
    found = measured.evaluated.kl()
    assert found is not None and found[0] == pytest.approx(0.75 * 2.0 + 0.25 * 6.0)


def test_a_prompt_that_is_written_for_every_segment_is_no_repetition() -> None:
    """Told no difference yet, a policy writes the same for all segments on the same seeds: that alone must not look like monotony."""
    same = replace(OF_SEGMENTS, prompts=(("x", "y", "x", "y"), ("z", "z", "z", "z")))
    health = same.health()
    assert health is not None and (same.distinct(), health.distinct) == (0.75, 0.75)
    assert replace(same, shares={}).distinct() == 3 / 8
