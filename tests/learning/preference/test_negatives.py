"""How the product-centric negative is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from caig_rl.config.learner import NegativeName
from caig_rl.data.instructions import Task, instruction
from caig_rl.learning.preference.negatives import Negative, NegativeSampler
from caig_rl.types import NegativeKind, Product
from caig_rl.world.products import WorldProducts

MUG = Product("p0", "Red mug", "Kitchen")
OTHERS = [
    MUG,
    Product("p1", "red  MUG", "Bathroom"),
    Product("p2", "Blue mug", "kitchen"),
    Product("p3", "Lamp", "Living room"),
    Product("p4", "Soap", "Bathroom"),
]
PAPER = NegativeSampler(OTHERS)


def of_one_kind(kind: NegativeName, products: Sequence[Product] = OTHERS) -> list[Negative]:
    sampler = NegativeSampler(products, {kind: 1.0})
    return [sampler.draw(seed, MUG) for seed in range(200)]


def test_both_kinds_of_the_paper_are_drawn_about_equally_often() -> None:
    kinds = [PAPER.draw(seed, MUG).kind for seed in range(1000)]
    assert 440 <= kinds.count(NegativeKind.MASKED_IMAGE) <= 560
    assert set(kinds) == {NegativeKind.MASKED_IMAGE, NegativeKind.OTHER_TEXT}


def _as_before_the_kinds_had_shares(seed: int, product: Product, others: Sequence[Product]) -> Negative:
    """The draw that runs began with: half masked, half of all that differ, found by looking at each."""
    generator = np.random.default_rng([0x9C90, seed])
    mask_seed = int(generator.integers(2**31))
    if generator.random() < 0.5:
        return Negative(NegativeKind.MASKED_IMAGE, mask_seed)

    def folded(text: str) -> str:
        return " ".join(text.split()).casefold()

    fitting = [
        other for other in others if folded(other.category) != folded(product.category) and folded(other.title) != folded(product.title)
    ]
    other = fitting[int(generator.integers(len(fitting)))]
    return Negative(NegativeKind.OTHER_TEXT, mask_seed, other.product_id, instruction(Task.PROMPT_GENERATION, other, seed))


def test_the_default_draws_what_it_always_drew() -> None:
    world = [*WorldProducts(0, 150, "train").products, *OTHERS]
    sampler = NegativeSampler(world)
    for seed, product in enumerate([*world, *OTHERS * 20]):
        assert sampler.draw(seed, product) == _as_before_the_kinds_had_shares(seed, product, world)


def test_the_other_product_has_another_category_and_other_text() -> None:
    assert {negative.product_id for negative in of_one_kind("mismatch")} == {"p3", "p4"}


def test_each_kind_comes_as_often_as_its_share_and_weights_need_not_add_up() -> None:
    sampler = NegativeSampler(OTHERS, {"hard": 1.0, "picture": 4.0, "mask": 3.0, "mismatch": 0.0})
    kinds = Counter(sampler.draw(seed, MUG).kind for seed in range(2000))
    assert set(kinds) == {NegativeKind.MASKED_IMAGE, NegativeKind.OTHER_PICTURE, NegativeKind.HARD}
    shares = [kinds[kind] / 2000 for kind in (NegativeKind.MASKED_IMAGE, NegativeKind.OTHER_PICTURE, NegativeKind.HARD)]
    assert shares == pytest.approx([3 / 8, 4 / 8, 1 / 8], abs=0.04)


def test_a_picture_of_another_product_stands_under_the_own_text() -> None:
    assert {(one.kind, one.product_id, one.instruction) for one in of_one_kind("picture")} == {
        (NegativeKind.OTHER_PICTURE, "p3", ""),
        (NegativeKind.OTHER_PICTURE, "p4", ""),
    }


def test_a_hard_negative_is_the_nearest_title_of_another_category_its_text_or_its_picture() -> None:
    products = [*OTHERS, Product("near", "Red rug", "Living room"), *(Product(f"far{i}", f"Soap {i}", "Bathroom") for i in range(3))]
    drawn = of_one_kind("hard", products)
    assert Counter(one.product_id for one in drawn)["near"] > 150, "16 draws of 6 products nearly always have it among them"
    texts = [one for one in drawn if one.instruction]
    assert 70 < len(texts) < 130
    assert all(one.kind is NegativeKind.HARD for one in drawn)


def test_without_categories_a_product_whose_title_shares_no_word_serves() -> None:
    plain = [Product(f"p{i}", title, "unknown") for i, title in enumerate(["Red mug", "Blue MUG", "red lamp", "desk lamp", "soap"])]
    sampler = NegativeSampler(plain, {"mismatch": 1.0})
    drawn = [sampler.draw(seed, plain[0]) for seed in range(200)]
    assert {(one.kind, one.product_id) for one in drawn} == {(NegativeKind.OTHER_TEXT, "p3"), (NegativeKind.OTHER_TEXT, "p4")}


@pytest.mark.parametrize("kind", ["mismatch", "picture", "hard"])
def test_where_no_product_fits_the_picture_is_masked_and_called_so(kind: NegativeName) -> None:
    assert {one.kind for one in of_one_kind(kind, OTHERS[:3])} == {NegativeKind.MASKED_IMAGE}


def test_the_other_product_is_asked_about_in_the_same_wording() -> None:
    by_id = {product.product_id: product for product in OTHERS}
    for seed, negative in enumerate(of_one_kind("mismatch")):
        assert negative.instruction == instruction(Task.PROMPT_GENERATION, by_id[negative.product_id], seed)


def test_the_same_seed_draws_the_same_negative() -> None:
    first, second = (NegativeSampler(OTHERS, {"hard": 0.4, "picture": 0.3, "mask": 0.3}) for _ in range(2))
    assert [first.draw(seed, MUG) for seed in range(50)] == [second.draw(seed, MUG) for seed in reversed(range(50))][::-1]
