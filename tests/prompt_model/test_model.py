"""The prompt model finds known tastes, says what is worth something to any product, and knows when it knows nothing."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.prompt_model.model import PromptModel, ScoredPrompts
from caig_rl.types import Product
from tests.prompt_model.shops import KINDS, SURFACES, WALLS, catalog, scored_round, taste


def told(rounds: int = 4, *, categories: bool = True) -> PromptModel:
    products, rng = catalog(categories=categories), np.random.default_rng(3)
    model = PromptModel(ProductKinds.of(products))
    for _ in range(rounds):
        model.tell(scored_round(products, rng))
    return model


@pytest.mark.parametrize("categories", [True, False])
def test_known_tastes_are_found_with_and_without_categories(categories: bool) -> None:
    effects = told(categories=categories).effects()
    texts = [f"on {surface}, {wall} behind" for surface in SURFACES for wall in WALLS]
    for product in catalog(4, categories=categories):
        truth = np.array([taste(product, text) for text in texts])
        assert np.corrcoef(effects.value(product, texts), truth)[0, 1] > 0.9


def test_the_worth_to_any_product_counts_what_each_kind_sees_in_it() -> None:
    effects = told().effects()
    texts = [f"on {SURFACES[0]}, {wall} behind" for wall in WALLS]
    by_kind = [effects.value(product, texts) for product in catalog(len(KINDS))]
    assert effects.value_to_any(texts) == pytest.approx(np.mean(by_kind, axis=0), abs=1e-12)
    gain = effects.value_to_any(texts)[2] - effects.value_to_any(texts)[[0, 1, 3]].mean()
    assert gain == pytest.approx(0.3 + 0.3 / 4, abs=0.12)


def test_a_model_that_predicts_is_trusted_and_its_score_is_of_rounds_not_yet_told() -> None:
    model = told()
    assert model.trusted
    assert model.score is not None
    assert model.score.pearson > 0.6
    assert model.score.num_rewards == 320


def test_the_first_round_is_judged_by_products_left_out() -> None:
    model = told(1)
    assert model.score is not None
    assert 0.3 < model.score.pearson < 1.0
    assert model.trusted


def test_rewards_that_prompts_do_not_explain_switch_the_model_off() -> None:
    products, rng = catalog(100), np.random.default_rng(4)
    model = PromptModel(ProductKinds.of(products))
    for _ in range(3):
        model.tell(scored_round(products, rng, noise=0.3, worth=lambda product, text: 0.0))
    assert not model.trusted
    assert model.metrics()["trusted"] == 0.0


def test_a_model_that_was_told_nothing_has_no_effects_and_is_not_trusted() -> None:
    model = PromptModel(ProductKinds.of(catalog()))
    model.tell([])
    assert not model.trusted
    assert model.metrics() == {}
    with pytest.raises(ValueError, match="not been told"):
        model.effects()


def test_refused_creatives_teach_nothing() -> None:
    product = catalog()[0]
    groups = scored_round(catalog(), np.random.default_rng(5))
    refused = [ScoredPrompts(g.product, (*g.texts, "on moon dust"), (*g.rewards, math.nan)) for g in groups]
    all_refused = ScoredPrompts(product, ("on moon dust",), (math.nan,))
    first, second = (PromptModel(ProductKinds.of(catalog())) for _ in range(2))
    first.tell(groups)
    second.tell([*refused, all_refused])
    assert first.effects().weights == pytest.approx(second.effects().weights, abs=1e-12)


def test_telling_the_rounds_again_gives_the_same_model_and_so_does_pickling() -> None:
    first, second = told(), told()
    copy = pickle.loads(pickle.dumps(first))
    for other in (second, copy):
        assert np.array_equal(first.effects().weights, other.effects().weights)
        assert np.array_equal(first.draw(np.random.default_rng(1)).weights, other.draw(np.random.default_rng(1)).weights)
        assert first.score == other.score


def test_the_number_of_features_is_bounded() -> None:
    products, rng = catalog(), np.random.default_rng(3)
    model = PromptModel(ProductKinds.of(products), max_columns=12)
    model.tell(scored_round(products, rng))
    assert model.metrics()["columns"] == 12.0
    assert np.count_nonzero(model.effects().weights) <= 12


def test_groups_that_do_not_fit_are_refused() -> None:
    model, product = PromptModel(ProductKinds.of(catalog())), catalog()[0]
    with pytest.raises(ValueError, match="2 prompts and 1 rewards"):
        model.tell([ScoredPrompts(product, ("a", "b"), (0.0,))])
    with pytest.raises(ValueError, match="infinite reward"):
        model.tell([ScoredPrompts(product, ("a",), (math.inf,))])


SHARES = {"teens": 0.75, "adults": 0.25}


def _of_segment(product: Product, text: str) -> float:
    """Teens like brick walls by 0.5 more than adults do, whatever the product; all else as everybody. Their level must not matter."""
    return taste(product, text) + (3.0 + 0.5 * ("brick" in text)) * (product.segment == "teens")


def _told_by_segment() -> PromptModel:
    products, rng = catalog(), np.random.default_rng(3)
    model = PromptModel(ProductKinds.of(products), segments=SHARES)
    for number in range(8):
        shown = [product.shown_to(list(SHARES)[(index // len(KINDS) + number) % 2]) for index, product in enumerate(products)]
        model.tell(scored_round(shown, rng, worth=_of_segment))
    return model


def test_what_a_segment_likes_is_told_apart_and_carries_over_to_every_product() -> None:
    effects, texts = _told_by_segment().effects(), ["on moon dust, brick wall behind", "on moon dust, blue sky behind"]
    for product in catalog(len(KINDS)):
        teens, adults = (effects.value(product.shown_to(name), texts) for name in SHARES)
        assert teens[0] - teens[1] == pytest.approx(0.5, abs=0.12)
        assert adults[0] - adults[1] == pytest.approx(0.0, abs=0.12)


def test_the_worth_to_any_product_is_to_anybody_so_that_a_segments_own_taste_is_kept() -> None:
    effects, texts = _told_by_segment().effects(), ["on moon dust, brick wall behind", "on moon dust, blue sky behind"]
    by_both = [
        share * effects.value(product.shown_to(name), texts) / len(KINDS)
        for name, share in SHARES.items()
        for product in catalog(len(KINDS))
    ]
    assert effects.value_to_any(texts) == pytest.approx(np.sum(by_both, axis=0), abs=1e-12)
    gain = effects.value_to_any(texts)
    assert gain[0] - gain[1] == pytest.approx(0.75 * 0.5, abs=0.1)
