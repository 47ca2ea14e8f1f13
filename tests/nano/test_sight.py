"""The embedded policy sees its product, and still writes for the text as it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, ProcessorMixin

from caig_rl.data.instructions import Task, instruction
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.policy import load_policy
from caig_rl.models.prompting import chat_prompt
from caig_rl.nano.corpus import PICTURE_SHARE, TEXT_SHARE, draw_named_products, draw_tuning_corpus
from caig_rl.nano.sight import Sight, measure_sight, sample_answers
from caig_rl.statistics import distinct_share
from caig_rl.world.products import CATEGORIES, WorldProducts
from caig_rl.world.suitability import SUITABLE
from caig_rl.world.vocabulary import ATTRIBUTES, named_attributes

Policy = tuple[PreTrainedModel, ProcessorMixin]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(resolve_model_folder("nano", "policy"))


@pytest.fixture(scope="module")
def sight(policy: Policy) -> Sight:
    return measure_sight(*policy, num_products=5 * len(CATEGORIES))


def test_without_a_title_its_own_picture_against_another_categorys_is_worth_two_nats(sight: Sight):
    assert sight.untitled_picture >= 2.0


def test_the_title_still_tells_it_what_to_write(sight: Sight):
    assert sight.text >= 0.3


@pytest.mark.parametrize("sampled", ["titled_prompts", "untitled_prompts"])
def test_its_prompts_are_whole_and_differ(sight: Sight, sampled: str):
    prompts = getattr(sight, sampled)
    malformed = np.mean([len(named_attributes(text)) < len(ATTRIBUTES) for text in prompts])
    assert malformed <= 0.05, prompts
    assert distinct_share(prompts) >= 0.95


def test_from_the_picture_alone_it_names_surfaces_and_walls_that_suit_the_product(sight: Sight):
    suits = []
    for product, text in zip(WorldProducts(0, len(sight.untitled_prompts), "eval").products, sight.untitled_prompts, strict=True):
        named, suitable = named_attributes(text), SUITABLE[product.category]
        suits += [named.get(name) in getattr(suitable, name) for name in ("surface", "wall")]
    # Chance: three of eight.
    assert np.mean(suits) >= 0.65


def test_a_policy_without_eyes_finds_all_pictures_alike():
    model, processor = load_policy(resolve_model_folder("nano", "policy"))
    with torch.no_grad():
        model.model.connector.modality_projection.proj.weight.zero_()
    blind = measure_sight(model, processor, num_products=len(CATEGORIES))
    assert blind.untitled_picture == pytest.approx(0.0, abs=1e-4)
    assert blind.titled_picture == pytest.approx(0.0, abs=1e-4)


def test_sight_is_measured_on_as_many_products_of_each_category(policy: Policy):
    with pytest.raises(ValueError, match="num_products is 15; a multiple of 14"):
        measure_sight(*policy, num_products=15)


def test_answers_are_sampled_to_their_end_beside_longer_prompts(policy: Policy):
    model, processor = policy
    texts = [instruction(Task.PROMPT_FROM_PICTURE, WorldProducts(0, 1, "eval").products[0], 0), "Suggest an ad background. " * 4]
    answers = sample_answers(model, processor, [chat_prompt(processor, text) for text in texts], [np.full((64, 64, 3), 236, np.uint8)] * 2)
    end = processor.tokenizer.eos_token_id
    assert [answer.index(end) for answer in answers] == [len(answer) - 1 for answer in answers]


def test_the_tuning_shows_picture_and_text_or_either_alone_and_prompts_suit_either_alone_more_often():
    corpus = draw_tuning_corpus(900, 0, num_products=len(CATEGORIES))
    known = {
        example.image.tobytes(): example.answer.split(" with ")[0].rsplit(" ", 1)[1] for example in draw_named_products(len(CATEGORIES))
    }
    untold = {instruction(Task.PROMPT_FROM_PICTURE, WorldProducts(0, 1, "pretrain").products[0], seed) for seed in range(200)}
    suits: dict[str, list[bool]] = {"picture": [], "text": [], "both": []}
    for example in corpus:
        category = known.get(example.image.tobytes())
        if category is None:
            kind, category = (
                "text",
                next(name for name in CATEGORIES if f" {name}" in example.instruction or f"({name})" in example.instruction),
            )
        else:
            kind = "picture" if example.instruction in untold else "both"
            assert kind == "picture" or category in example.instruction
        suits[kind].append(named_attributes(example.answer)["surface"] in SUITABLE[category].surface)
    assert len(suits["picture"]) == pytest.approx(900 * PICTURE_SHARE, abs=70)
    assert len(suits["text"]) == pytest.approx(900 * TEXT_SHARE, abs=60)
    assert min(np.mean(suits["picture"]), np.mean(suits["text"])) > np.mean(suits["both"]) + 0.1
