"""Wordings and lengths of the instructions."""

from __future__ import annotations

import pytest

from caig_rl.data.instructions import NANO_LIMITS, WORDINGS, Task, instruction, shorten
from caig_rl.types import Product

MUG = Product("p1", "Red ceramic mug", "Kitchen", "Holds 300 ml.")
LAMP = Product("p2", "Brass lamp", "Living room")


def test_each_task_has_ten_different_wordings() -> None:
    assert set(WORDINGS) == set(Task)
    assert all(len(set(wordings)) == 10 for wordings in WORDINGS.values())


@pytest.mark.parametrize("task", list(Task))
def test_seeds_reach_every_wording_and_the_same_seed_the_same_one(task: Task) -> None:
    drawn = {instruction(task, MUG, seed) for seed in range(200)}
    assert len(drawn) == 10
    assert instruction(task, MUG, 7) == instruction(task, MUG, 7)


def test_two_products_get_the_same_wording_from_one_seed() -> None:
    plain = Product("p3", "Red ceramic mug", "Kitchen")
    for seed in range(50):
        about_mug, about_lamp = instruction(Task.PROMPT_GENERATION, plain, seed), instruction(Task.PROMPT_GENERATION, LAMP, seed)
        assert about_mug.replace("Red ceramic mug", "Brass lamp").replace("Kitchen", "Living room") == about_lamp


def test_every_prompt_generation_wording_names_title_and_category() -> None:
    assert all("{title}" in wording and "{category}" in wording for wording in WORDINGS[Task.PROMPT_GENERATION])


def test_the_instruction_to_read_the_picture_alone_names_no_product() -> None:
    for seed in range(50):
        text = instruction(Task.PROMPT_FROM_PICTURE, MUG, seed)
        assert text == instruction(Task.PROMPT_FROM_PICTURE, LAMP, seed)
        assert text not in {instruction(Task.PROMPT_GENERATION, MUG, other) for other in range(50)}


def test_braces_in_a_title_are_text() -> None:
    assert "{title} {x" in instruction(Task.PROMPT_GENERATION, Product("p", "{title} {x", "Toys"), 0)


def test_the_longest_product_text_stays_within_the_limits() -> None:
    long = Product("p", "word " * 2000, "\u5bb6\u5177" * 500, "x" * 10_000)
    limit = NANO_LIMITS.title + NANO_LIMITS.category + NANO_LIMITS.description + max(len(text) for text in WORDINGS[Task.PROMPT_GENERATION])
    assert all(len(instruction(Task.PROMPT_GENERATION, long, seed).encode()) <= limit for seed in range(50))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("two  \n words", "two words"),
        ("cut at a word", "cut at a"),
        ("abcdefghijklmno", "abcdefghij"),
        ("\u5bb6" * 9, "\u5bb6" * 3),
    ],
)
def test_text_is_cut_at_a_word_or_between_characters(text: str, expected: str) -> None:
    assert shorten(text, 10) == expected
