"""Words and phrases of a text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caig_rl.prompt_model.phrases import phrases, words


def test_words_two_word_phrases_and_short_parts_are_found_once() -> None:
    assert phrases("On oak table, Blue sky, blue SKY") == [
        "blue",
        "blue sky",
        "oak",
        "oak table",
        "on",
        "on oak",
        "on oak table",
        "sky",
        "table",
    ]


def test_a_phrase_does_not_reach_over_a_comma_or_full_stop() -> None:
    found = phrases("oak table. blue sky")
    assert "table blue" not in found
    assert "blue sky" in found


def test_a_long_part_is_no_phrase_of_its_own() -> None:
    sentence = "a bright kitchen in the morning with plants on the sill"
    assert sentence not in phrases(sentence)
    assert "bright kitchen" in phrases(sentence)


def test_signs_of_scripts_without_spaces_are_words() -> None:
    assert words("木桌上 mug") == ["木", "桌", "上", "mug"]
    assert "木 桌" in phrases("木桌上")


def test_hyphens_and_apostrophes_stay_inside_a_word() -> None:
    assert words("Grandma's t-shirt") == ["grandma's", "t-shirt"]


@given(st.text(max_size=80))
def test_any_text_has_sorted_distinct_phrases_whatever_its_case(text: str) -> None:
    found = phrases(text)
    assert found == sorted(set(found))
    assert set(words(text)) <= set(found)
