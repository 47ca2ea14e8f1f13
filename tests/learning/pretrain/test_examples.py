"""Which tasks a row of stage A serves, and what is asked and answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from caig_rl.data.clicks.groups import encode_png
from caig_rl.data.instructions import FAMILIES, Task
from caig_rl.learning.pretrain.examples import asks_about_photos, drawn_examples, rough_draft, tasks_of_row
from caig_rl.learning.pretrain.sft import SftExample

SHARES = {"image_understanding": 0.2, "content_understanding": 0.2, "prompt_generation": 0.6}
CAPTION = "on oak table, dark studio behind, red roses, soft light"
PHOTO, AD = np.full((16, 16, 3), 30, np.uint8), np.full((16, 16, 3), 200, np.uint8)


def make_rows(count: int, caption: str) -> dict[str, list[Any]]:
    return {
        "number": list(range(count)),
        "product_id": ["p"] * count,
        "title": ["red mug"] * count,
        "category": ["kitchen"] * count,
        "description": ["Holds much."] * count,
        "photo": [encode_png(PHOTO)] * count,
        "creative": [encode_png(AD) if caption else b""] * count,
        "caption": [caption] * count,
    }


def is_photo(example: SftExample) -> bool:
    return bool((example.image == PHOTO).all())


def test_families_come_in_their_shares_and_their_tasks_evenly():
    chances = tasks_of_row(True, SHARES)
    # The embedded policy alone is asked for a prompt from the picture alone.
    assert set(chances) == set(Task) - {Task.PROMPT_FROM_PICTURE}
    for family, tasks in FAMILIES.items():
        assert sum(chances[task] for task in tasks) == pytest.approx(SHARES[family])
        assert len({chances[task] for task in tasks}) == 1


def test_a_photo_alone_is_asked_for_its_product_only():
    assert set(tasks_of_row(False, SHARES)) == {Task.PRODUCT_DESCRIPTION, Task.TITLE_WRITING}
    assert asks_about_photos(SHARES)
    assert not asks_about_photos({"prompt_generation": 1.0})
    assert {example.answer for example in drawn_examples(make_rows(20, ""), 0, SHARES, 0)} == {"red mug"}


def test_prompts_are_asked_of_the_photo_and_descriptions_of_the_ad():
    prompts = drawn_examples(make_rows(60, CAPTION), 0, {"prompt_generation": 1.0}, 0)
    assert all(is_photo(example) and example.answer == CAPTION for example in prompts)
    drafts = [example for example in prompts if any(part in example.instruction for part in CAPTION.split(", "))]
    assert 15 < len(drafts) < 45
    described = drawn_examples(make_rows(60, CAPTION), 0, {"image_understanding": 1.0}, 0)
    assert not any(is_photo(example) for example in described)
    assert {example.answer for example in described} == {CAPTION, "red mug", f"red mug, {CAPTION}"}


def test_epochs_draw_anew_and_validation_always_the_same():
    rows = make_rows(40, CAPTION)

    def asked(epoch: int | None) -> list[str]:
        return [example.instruction for example in drawn_examples(rows, epoch, SHARES, 0)]

    assert asked(0) == asked(0)
    assert asked(0) != asked(1)
    assert asked(None) == asked(None)


def test_a_row_is_drawn_the_same_in_any_batch():
    rows = make_rows(10, CAPTION)
    last = {name: values[7:] for name, values in rows.items()}
    whole, part = drawn_examples(rows, 3, SHARES, 0), drawn_examples(last, 3, SHARES, 0)
    assert [example.instruction for example in whole[7:]] == [example.instruction for example in part]


def test_a_draft_is_half_of_the_prompt():
    rng = np.random.default_rng(0)
    counts = Counter(part for _ in range(200) for part in rough_draft(CAPTION, rng).split(", "))
    assert set(counts) == set(CAPTION.split(", "))
    assert sum(counts.values()) == 400
    assert sorted(rough_draft("oak table", rng).split()) in (["oak"], ["table"])
