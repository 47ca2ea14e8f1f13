"""Whether a policy sees: how much likelier it finds its own prompts with the product's picture, or text, than with another category's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from caig_rl.data.instructions import Task, instruction
from caig_rl.models.answer_batch import pad_token_rows
from caig_rl.models.logprobs import answer_log_probs
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.nano.corpus import product_views
from caig_rl.types import ImageArray
from caig_rl.world.products import CATEGORIES, WorldProducts

Answer = tuple[int, ...]
MAX_TOKENS = 48
"""Longest answer, as `policy.max_tokens`."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Mean log p(y | the product's own) - log p(y | another category's) in nats; y is sampled with the product's own picture and text."""

    untitled_picture: float
    """Pictures differ, and no text names the product: what the picture alone tells."""
    titled_picture: float
    """Pictures differ under the product's own text."""
    text: float
    """Texts differ over the product's own picture."""
    titled_prompts: list[str]
    """What was sampled with the text, one prompt a product."""
    untitled_prompts: list[str]
    """What was sampled without."""


def measure_sight(model: PreTrainedModel, processor: ProcessorMixin, num_products: int, seed: int = 0) -> Sight:
    """One prompt for each of `num_products` held-out products, with its text and without; each is compared with one other product.

    Raises:
        ValueError: `num_products` is no multiple of the number of categories, which take turns.
    """
    if num_products % len(CATEGORIES):
        raise ValueError(f"num_products is {num_products}; a multiple of {len(CATEGORIES)} is needed, one product a category")
    torch.manual_seed(seed)
    source = WorldProducts(0, num_products, "eval")
    views = product_views(source)
    shifts = np.random.default_rng(seed).integers(1, len(CATEGORIES), num_products)
    others = [int(other) for other in (np.arange(num_products) + shifts) % num_products]
    titled, untitled = (
        [chat_prompt(processor, instruction(task, product, seed + k)) for k, product in enumerate(source.products)]
        for task in (Task.PROMPT_GENERATION, Task.PROMPT_FROM_PICTURE)
    )
    # The other product's text in this product's wording: only the product differs.
    mistitled = [chat_prompt(processor, instruction(Task.PROMPT_GENERATION, source.products[j], seed + k)) for k, j in enumerate(others)]
    other_views = [views[j] for j in others]
    with_text, without_text = (sample_answers(model, processor, prompts, views) for prompts in (titled, untitled))

    def mean_log_prob(prompts: Sequence[str], pictures: Sequence[ImageArray], answers: Sequence[Answer]) -> float:
        with torch.no_grad():
            return float(answer_log_probs(model, processor, prompts, pictures, answers).sums.mean())

    own = mean_log_prob(titled, views, with_text)
    return Sight(
        untitled_picture=mean_log_prob(untitled, views, without_text) - mean_log_prob(untitled, other_views, without_text),
        titled_picture=own - mean_log_prob(titled, other_views, with_text),
        text=own - mean_log_prob(mistitled, views, with_text),
        titled_prompts=processor.tokenizer.batch_decode(with_text, skip_special_tokens=True),
        untitled_prompts=processor.tokenizer.batch_decode(without_text, skip_special_tokens=True),
    )


@torch.no_grad()
def sample_answers(
    model: PreTrainedModel, processor: ProcessorMixin, prompts: Sequence[str], pictures: Sequence[ImageArray]
) -> list[Answer]:
    """One answer to each prompt over its picture at temperature 1, by torch's global generator, with its end token where it ended."""
    tokenizer, encoded = processor.tokenizer, encode_prompts(processor, prompts, pictures)
    # Reversed twice: right padding becomes the left padding that generation needs.
    backwards = [ids[::-1] for ids in encoded.token_ids]
    ids = pad_token_rows(backwards, tokenizer.pad_token_id).flip(1)
    written = model.generate(
        input_ids=ids,
        attention_mask=pad_token_rows([[1] * len(row) for row in backwards], 0).flip(1),
        **encoded.pictures,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=MAX_TOKENS,
        # A picture token inside an answer would be read as a picture that is not there.
        suppress_tokens=[processor.image_token_id],
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )[:, ids.shape[1] :]
    return [_ended(row.tolist(), tokenizer.eos_token_id) for row in written]


def _ended(tokens: list[int], end: int) -> Answer:
    return tuple(tokens[: tokens.index(end) + 1] if end in tokens else tokens)
