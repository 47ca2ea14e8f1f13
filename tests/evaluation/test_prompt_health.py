from __future__ import annotations

import pytest

from caig_rl.evaluation.prompt_health import attribute_entropy, check_prompts, entropy, fault, parts_of, prompt_health
from caig_rl.types import PromptCheck

FINE = (
    "on oak table, blue sky behind, no props, soft light, natural colours",
    "A warm oak table by a window, morning light, a sprig of eucalyptus beside the product. Muted sage wall",
    "very very soft light (from the left), 3.5 metre ceiling",
    "白色大理石桌面，柔和的光线",
    "a scene with the word prompt in it",
)


@pytest.mark.parametrize("text", FINE)
def test_a_description_in_plain_language_has_no_fault(text: str) -> None:
    assert fault(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" , . ", "empty"),
        ("a wall\x00 of stone", "unprintable"),
        ("a wall \ufffd of stone", "unprintable"),
        ("a wall<|im_end|>", "debris"),
        ("a wall </s> of stone", "debris"),
        ("a wall [/INST] of stone", "debris"),
        ("<image> a wall of stone", "debris"),
        ("Sure, here is a background: a wall", "debris"),
        ("Here's a background for the mug", "debris"),
        ("I cannot help with that request", "debris"),
        ("As an AI model I see a wall", "debris"),
        ("a wall. Assistant: a table", "debris"),
        ('{"prompt": "a wall"}', "debris"),
        ("a wall of stone behind a", "cut_off"),
        ("a wall of stone, soft light,", "cut_off"),
        ("a wall of stone (rough", "cut_off"),
        ("on oak table, soft light, on oak table", "repeated"),
        ("a wall of stone of stone", "repeated"),
        ("light light light from above", "repeated"),
    ],
)
def test_what_no_renderer_can_use_is_named(text: str, kind: str) -> None:
    assert fault(text) == kind


def test_parts_are_compared_in_folded_case_and_without_their_points() -> None:
    assert parts_of("Oak table, Soft  light. a wall") == ("oak table", "soft light", "a wall")


def test_prompts_without_a_judge_are_checked_as_language_and_know_of_no_trap() -> None:
    fine, cut = check_prompts(["oak table, soft light", "a wall of"])
    assert (fine.malformed, fine.trap, fine.attributes, fine.background) == (False, None, ("oak table", "soft light"), None)
    assert cut.malformed


def test_entropy_has_the_values_worked_out_by_hand() -> None:
    assert entropy([]) == 0.0 and entropy("aaaa") == 0.0
    assert entropy("abcdefgh") == pytest.approx(3.0)
    assert entropy("aab") == pytest.approx(0.9182958)


def known(wall: str | None, light: str, trap: bool = False, malformed: bool = False) -> PromptCheck:
    return PromptCheck(malformed, trap, (wall, light), wall)


def test_the_health_of_prompts_whose_places_are_fixed() -> None:
    checks = [known("neon", "soft", trap=True), known("sky", "soft"), known("sky", "hard"), known(None, "hard", malformed=True)]
    health = prompt_health(["a", "b", "c", "C"], checks)
    assert (health.malformed, health.trap, health.distinct, health.commonest_background) == (0.25, 0.25, 0.75, 0.5)
    # Walls 1 and 2 of 3 (a place that says nothing does not count), lights 2 and 2 of 4.
    assert health.attribute_entropy == pytest.approx((0.9182958 + 1.0) / 2)


def test_without_fixed_places_all_parts_together_vary_and_the_same_parts_are_one_background() -> None:
    texts = ["oak, soft", "soft, oak", "sand, hard"]
    health = prompt_health(texts, check_prompts(texts))
    assert (health.trap, health.distinct) == (None, 1.0)
    assert health.commonest_background == pytest.approx(2 / 3)
    assert health.attribute_entropy == pytest.approx(entropy(["oak", "soft"] * 2 + ["sand", "hard"]))


def test_a_policy_that_says_one_thing_has_no_entropy() -> None:
    assert attribute_entropy([known("sky", "soft")] * 5) == 0.0


@pytest.mark.parametrize("checks", [[], [known("sky", "soft")] * 2])
def test_every_prompt_needs_its_check(checks: list[PromptCheck]) -> None:
    with pytest.raises(ValueError, match="one of each"):
        prompt_health(["a"] if checks else [], checks)
