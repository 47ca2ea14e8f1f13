from __future__ import annotations

import math
from collections.abc import Sequence

from actors.loop.state.group_selection import NoGroup, official_negatives, select_group
from caig_rl.learning.preference.negatives import NegativeSampler
from caig_rl.types import Admission, NegativeKind, Outcome, PolicyVersion, PreferenceGroup, Product, Rollout, RolloutGroup

PRODUCTS = [Product("mug", "red mug", "kitchen"), Product("hose", "long hose", "garden")]
NEGATIVES = NegativeSampler(PRODUCTS)
NAN = math.nan


def _group(texts: Sequence[str], seed: int = 1, product: str = "mug") -> RolloutGroup:
    rollouts = tuple(Rollout(text, tuple(text.encode()), (-1.0,) * len(text)) for text in texts)
    return RolloutGroup(Admission(7, 0, product, seed), PolicyVersion(0, 0), "write a background", rollouts)


def _pair(scores: Sequence[float], texts: Sequence[str] = "abcd", margin: float = 0.1, seed: int = 1) -> PreferenceGroup | NoGroup:
    reasons = ["blank" if math.isnan(score) else "" for score in scores]
    return select_group(_group(texts, seed), scores, reasons, PRODUCTS[0], NEGATIVES, margin)


def test_the_best_candidate_is_chosen_against_the_worst() -> None:
    pair = _pair([0.3, -0.2, 0.9, 0.0])
    assert isinstance(pair, PreferenceGroup)
    assert (pair.chosen.text, pair.rejected.text, pair.best, pair.worst) == ("c", "b", 2, 1)
    assert pair.scores == (0.3, -0.2, 0.9, 0.0)


def test_candidates_the_gate_refused_take_no_part() -> None:
    pair = _pair([NAN, 0.1, 0.5, NAN])
    assert isinstance(pair, PreferenceGroup)
    assert (pair.chosen.text, pair.rejected.text, pair.usable) == ("c", "b", (1, 2))


def test_fewer_than_two_usable_creatives_are_a_failure_that_says_why() -> None:
    made = _pair([NAN, 0.1, NAN, NAN])
    assert made == NoGroup(Outcome.FAILED, "unusable", "1 of 4 creatives passed the usability gate (blank)")


def test_closer_than_the_margin_is_a_tie_and_at_the_margin_is_not() -> None:
    assert isinstance(_pair([0.0, 0.25], "ab", margin=0.5), NoGroup)
    assert isinstance(_pair([0.0, 0.5], "ab", margin=0.5), PreferenceGroup)


def test_equal_scores_are_a_tie_without_any_margin() -> None:
    made = _pair([0.2, 0.2, 0.2, 0.2], margin=0.0)
    assert isinstance(made, NoGroup) and made.outcome is Outcome.TIED


def test_the_same_prompt_twice_is_a_tie_whatever_its_scores() -> None:
    made = _pair([0.0, 5.0], "aa")
    assert isinstance(made, NoGroup) and made.outcome is Outcome.TIED


def test_the_negative_comes_from_the_seed_and_both_kinds_occur() -> None:
    pairs = [_pair([0.0, 1.0], "ab", seed=seed) for seed in range(40)]
    assert pairs == [_pair([0.0, 1.0], "ab", seed=seed) for seed in range(40)]
    kinds = [pair.negative for pair in pairs if isinstance(pair, PreferenceGroup)]
    assert 8 < kinds.count(NegativeKind.OTHER_TEXT) < 32
    assert {pair.negative_product_id for pair in pairs if isinstance(pair, PreferenceGroup)} == {"", "hose"}


def test_the_official_negative_swaps_text_and_answer_with_a_row_of_the_batch() -> None:
    pairs = [pair for seed in range(12) if isinstance(pair := _pair([0.0, 1.0], "ab", seed=seed), PreferenceGroup)]
    redrawn, rollouts = official_negatives(pairs, {product.product_id: product for product in PRODUCTS})
    for before, after, rollout in zip(pairs, redrawn, rollouts, strict=True):
        if before.negative is NegativeKind.MASKED_IMAGE:
            assert after == before and rollout is None
        else:
            assert after.negative_product_id == "mug" and "red mug" in after.negative_instruction
            assert rollout is not None and rollout.text == "b"


def test_the_negatives_other_product_is_shown_to_the_admissions_segment() -> None:
    told = [
        select_group(_group("ab", seed), [0.0, 1.0], ["", ""], PRODUCTS[0].shown_to("teens"), NEGATIVES, 0.1).negative_instruction
        for seed in range(20)
    ]
    assert any(told) and all(text.endswith(" Shoppers: teens.") for text in told if text)
