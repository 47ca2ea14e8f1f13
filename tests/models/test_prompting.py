"""The fast path of prompt encoding equals the processor's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Idefics3Processor

from caig_rl.models.prompting import chat_prompt, encode_prompts, fixed_image_size
from tests.tiny import IMAGE_SIZE, make_processor, random_picture

INSTRUCTIONS = ["a red ceramic mug on a wooden table", "Suggest an ad background for Tee N\u00b0 5 (Grocery)."]


@pytest.fixture(scope="module")
def processor() -> Idefics3Processor:
    return make_processor()


def test_ids_and_pixels_at_the_fixed_size_equal_the_processors_bit_for_bit(processor: Idefics3Processor) -> None:
    assert fixed_image_size(processor) == IMAGE_SIZE
    prompts, images = [chat_prompt(processor, text) for text in INSTRUCTIONS], [random_picture(0), random_picture(1)]
    encoded = encode_prompts(processor, prompts, images)
    expected = processor(text=prompts, images=[Image.fromarray(image) for image in images])
    assert encoded.token_ids == expected["input_ids"]
    assert np.array_equal(encoded.pictures["pixel_values"].numpy(), np.asarray(expected["pixel_values"]))


def test_pictures_of_another_size_go_through_the_processor(processor: Idefics3Processor) -> None:
    prompts, images = [chat_prompt(processor, text) for text in INSTRUCTIONS], [random_picture(0, 96), random_picture(1, 48)]
    encoded = encode_prompts(processor, prompts, images)
    alone = [encode_prompts(processor, [prompt], [image]) for prompt, image in zip(prompts, images, strict=True)]
    assert encoded.token_ids == [single.token_ids[0] for single in alone]
    assert torch.equal(encoded.pictures["pixel_values"], torch.cat([single.pictures["pixel_values"] for single in alone]))


def test_the_prompt_ends_where_the_answer_starts(processor: Idefics3Processor) -> None:
    prompt = chat_prompt(processor, INSTRUCTIONS[0])
    assert prompt.count("<image>") == 1
    assert prompt.endswith("ASSISTANT:")


@pytest.mark.parametrize("token", ["<image>", "</s>", "<end_of_utterance>"])
def test_a_product_text_with_a_special_token_is_refused(processor: Idefics3Processor, token: str) -> None:
    with pytest.raises(ValueError, match="special token"):
        chat_prompt(processor, f"a mug {token} on a table")


def test_unequal_numbers_of_prompts_and_images_are_refused(processor: Idefics3Processor) -> None:
    with pytest.raises(ValueError, match="2 prompts for 1 images"):
        encode_prompts(processor, ["a", "b"], [random_picture(0)])
