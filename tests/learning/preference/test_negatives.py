"""How the product-centric negative is drawn."""

from __future__ import annotations

from caig_rl.data.instructions import Task, instruction
from caig_rl.learning.preference.negatives import draw_negative
from caig_rl.types import NegativeKind, Product

MUG = Product("p0", "Red mug", "Kitchen")
OTHERS = [
    MUG,
    Product("p1", "red  MUG", "Bathroom"),
    Product("p2", "Blue mug", "kitchen"),
    Product("p3", "Lamp", "Living room"),
    Product("p4", "Soap", "Bathroom"),
]


def test_both_kinds_are_drawn_about_equally_often() -> None:
    kinds = [draw_negative(seed, MUG, OTHERS).kind for seed in range(1000)]
    assert 440 <= kinds.count(NegativeKind.MASKED_IMAGE) <= 560


def test_the_other_product_has_another_category_and_other_text() -> None:
    drawn = {draw_negative(seed, MUG, OTHERS).product_id for seed in range(300)}
    assert drawn == {"", "p3", "p4"}


def test_without_a_fitting_product_the_picture_is_masked() -> None:
    assert {draw_negative(seed, MUG, OTHERS[:3]).kind for seed in range(50)} == {NegativeKind.MASKED_IMAGE}


def test_the_other_product_is_asked_about_in_the_same_wording() -> None:
    by_id = {product.product_id: product for product in OTHERS}
    negatives = [(seed, draw_negative(seed, MUG, OTHERS)) for seed in range(20)]
    texts = [(seed, negative) for seed, negative in negatives if negative.kind is NegativeKind.OTHER_TEXT]
    assert texts
    for seed, negative in texts:
        assert negative.instruction == instruction(Task.PROMPT_GENERATION, by_id[negative.product_id], seed)


def test_the_same_seed_draws_the_same_negative() -> None:
    assert [draw_negative(seed, MUG, OTHERS) for seed in range(30)] == [draw_negative(seed, MUG, OTHERS) for seed in range(30)]
