"""Which of the written prompts are painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caig_rl.prompt_model.kinds import ProductKinds
from caig_rl.prompt_model.model import PromptModel
from caig_rl.prompt_model.screening import ranked_distinct, screen
from tests.prompt_model.shops import SURFACES, TRAP, catalog, scored_round

TEXTS = [f"on {surface}, {wall} behind" for surface in SURFACES for wall in ("blue sky", TRAP)]


def told(rounds: int = 4) -> PromptModel:
    products, rng = catalog(), np.random.default_rng(3)
    model = PromptModel(ProductKinds.of(products))
    for _ in range(rounds):
        model.tell(scored_round(products, rng))
    return model


def test_the_best_by_the_mean_are_painted_and_centring_leaves_the_trap_out() -> None:
    model, lamp = told(), catalog()[3]
    plain = screen("best", model, lamp, TEXTS, 2, 0.0, np.random.default_rng(0))
    centred = screen("best", model, lamp, TEXTS, 2, 1.0, np.random.default_rng(0))
    assert TEXTS[plain[0]] == f"on {SURFACES[3]}, {TRAP} behind"
    assert {TEXTS[index] for index in centred} == {f"on {SURFACES[3]}, {wall} behind" for wall in ("blue sky", TRAP)}
    assert TEXTS[centred[0]] == f"on {SURFACES[3]}, blue sky behind"


def test_thompson_draws_vary_with_the_generator_and_repeat_with_its_seed() -> None:
    model, mug = told(1), catalog()[0]
    chosen = [tuple(screen("thompson", model, mug, TEXTS, 4, 0.8, np.random.default_rng(seed))) for seed in [*range(20), 0]]
    assert chosen[0] == chosen[-1]
    assert len(set(chosen)) > 5
    favourites = {index for index, text in enumerate(TEXTS) if SURFACES[0] in text}
    assert np.mean([len(favourites & set(group)) for group in chosen]) > 1.2


def test_first_and_an_untrusted_model_take_the_prompts_as_written() -> None:
    untold, mug, rng = PromptModel(ProductKinds.of(catalog())), catalog()[0], np.random.default_rng(0)
    assert screen("first", told(1), mug, TEXTS, 3, 0.8, rng) == [0, 1, 2]
    assert screen("thompson", untold, mug, TEXTS, 3, 0.8, rng) == [0, 1, 2]
    assert rng.random() == np.random.default_rng(0).random()


def test_repetitions_are_painted_last() -> None:
    texts = ["Oak table", "oak  table", "snow", "oak table", "sand"]
    assert ranked_distinct(texts, np.array([3.0, 9.0, 1.0, 4.0, 2.0])) == [0, 4, 2, 1, 3]
    assert ranked_distinct(texts, np.zeros(5)) == [0, 2, 4, 1, 3]


def test_fewer_prompts_than_pictures_are_all_painted() -> None:
    assert screen("first", told(1), catalog()[0], ["a", "a", "b"], 8, 0.0, np.random.default_rng(0)) == [0, 2, 1]


@given(st.lists(st.sampled_from(["a", "b", "A ", "c"]), max_size=8), st.integers(0, 2**31))
def test_a_ranking_holds_each_index_once_with_distinct_texts_first(texts: list[str], seed: int) -> None:
    ranked = ranked_distinct(texts, np.random.default_rng(seed).normal(size=len(texts)))
    assert sorted(ranked) == list(range(len(texts)))
    distinct = len({text.strip().casefold() for text in texts})
    assert len({texts[index].strip().casefold() for index in ranked[:distinct]}) == distinct


def test_wrong_arguments_are_refused() -> None:
    model, mug, rng = told(1), catalog()[0], np.random.default_rng(0)
    with pytest.raises(ValueError, match="not 'worst'"):
        screen("worst", model, mug, TEXTS, 1, 0.0, rng)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        screen("best", model, mug, TEXTS, 0, 0.0, rng)
    with pytest.raises(ValueError, match="0 to 1"):
        screen("best", model, mug, TEXTS, 1, 1.5, rng)
