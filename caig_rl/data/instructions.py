"""The instructions of stage A and of the online loop: three task families, ten wordings for each task (METHOD, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from caig_rl.config.pretrain import Family
from caig_rl.segments import naming
from caig_rl.types import Product


class Task(StrEnum):
    """The tasks of stage A."""

    IMAGE_UNDERSTANDING = "image_understanding"
    """From an ad image alone: describe its product and background."""
    PRODUCT_DESCRIPTION = "product_description"
    """From a picture alone: name its product."""
    BACKGROUND_DESCRIPTION = "background_description"
    """From an ad image alone: describe its background."""
    CONTENT_UNDERSTANDING = "content_understanding"
    """From image and product text: describe the background."""
    TITLE_WRITING = "title_writing"
    """From picture, category and description: write the product's title."""
    PROMPT_GENERATION = "prompt_generation"
    """From product picture and text: write a background prompt. The online loop asks this."""
    PROMPT_FROM_PICTURE = "prompt_from_picture"
    """From product picture alone, the text withheld: write a background prompt. In no family: it teaches and measures sight."""
    PROMPT_REWRITING = "prompt_rewriting"
    """From product picture, text and a rough background prompt: write a better one."""


FAMILIES: dict[Family, tuple[Task, ...]] = {
    "image_understanding": (Task.IMAGE_UNDERSTANDING, Task.PRODUCT_DESCRIPTION, Task.BACKGROUND_DESCRIPTION),
    "content_understanding": (Task.CONTENT_UNDERSTANDING, Task.TITLE_WRITING),
    "prompt_generation": (Task.PROMPT_GENERATION, Task.PROMPT_REWRITING),
}
"""The three task families."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Longest product text in an instruction, in UTF-8 bytes (a byte-level tokenizer makes at most one token a byte).

    The defaults leave room for picture, wording and a 48-token answer in the embedded policy's 256 positions.
    """

    title: int = 72
    category: int = 24
    description: int = 60
    prompt: int = 80
    description_and_segment: int = 72
    """Description and the words that name a segment of shoppers, together."""


NANO_LIMITS = TextLimits()

WORDINGS: dict[Task, tuple[str, ...]] = {
    Task.IMAGE_UNDERSTANDING: (
        "Describe this ad image.",
        "What does this ad show?",
        "Describe the product and its background.",
        "Say what is in this picture.",
        "What is the product and where does it stand?",
        "Give a caption for this ad image.",
        "Describe the scene in this ad.",
        "Tell me about this picture.",
        "Write what you see in this ad.",
        "Name the product and describe what is around it.",
    ),
    Task.PRODUCT_DESCRIPTION: (
        "Which product is this?",
        "Name the product in this picture.",
        "What is being sold here?",
        "Describe the product.",
        "Say what the product is.",
        "What product do you see?",
        "Tell me which product this shows.",
        "Give the product's name.",
        "Identify the product.",
        "What is this?",
    ),
    Task.BACKGROUND_DESCRIPTION: (
        "Describe the background of this ad.",
        "What is behind the product?",
        "What surrounds the product in this picture?",
        "Give the background of this ad in words.",
        "Describe everything but the product.",
        "What does the background show?",
        "Say what stands around the product.",
        "Which background does this ad use?",
        "Write down the background of this picture.",
        "Where was this ad's product placed?",
    ),
    Task.TITLE_WRITING: (
        "Write a title for this product of {category}. {description}",
        "Category: {category}. {description} What is the product's title?",
        "Give this {category} product a title. {description}",
        "A shop sells this as {category}. {description} Title it.",
        "{description} Write the title that a shop would give it ({category}).",
        "Name this product for a catalog, category {category}. {description}",
        "What would a merchant call this ({category})? {description}",
        "{category}: write the product's title. {description}",
        "Suggest a product title. Category {category}. {description}",
        "Title for the product in the picture ({category}): {description}",
    ),
    Task.PROMPT_REWRITING: (
        "Product: {title} ({category}). Improve this background prompt: {prompt}",
        "Rewrite the background prompt for {title} ({category}): {prompt}",
        "For an ad of {title} ({category}), make this prompt complete: {prompt}",
        "{title}, category {category}. A draft of its background: {prompt}. Write it out.",
        "Here is a rough background for {title} ({category}): {prompt}. Write a better one.",
        "Ad for {title} ({category}). Turn this into a full background prompt: {prompt}",
        "This background prompt for {title} ({category}) is too short: {prompt}. Extend it.",
        "Rework this background for {title} ({category}): {prompt}",
        "The product is {title} ({category}). Finish this background prompt: {prompt}",
        "{category}: {title}. Polish the background prompt {prompt}",
    ),
    Task.CONTENT_UNDERSTANDING: (
        "Product: {title} ({category}). Describe the background of this ad.",
        "This ad shows {title}, {category}. What is behind it?",
        "{title}, category {category}. Describe the scene around it.",
        "Here is an ad for {title} ({category}). What does the background show?",
        "Ad for {title} ({category}). Name surface, wall, light and props.",
        "Where does {title} ({category}) stand in this ad?",
        "The product is {title} ({category}). Say what surrounds it.",
        "Look at {title} ({category}). Describe its surroundings.",
        "For {title} in {category}: what background does this ad use?",
        "{category}: {title}. Give the background in words.",
    ),
    Task.PROMPT_FROM_PICTURE: (
        "Write a background prompt for an ad of this product.",
        "Which background should an ad of this product have?",
        "Suggest an ad background for what is in the picture.",
        "Ad for the product in the picture. Describe a fitting background.",
        "Describe a background that sells what you see.",
        "Where should this product stand in its ad?",
        "Look at the product. Give a background prompt.",
        "For this product: write the background of its ad.",
        "An ad needs a background. The product is in the picture.",
        "Prompt a background for this product.",
    ),
    Task.PROMPT_GENERATION: (
        "Product: {title} ({category}). {description} Write a background prompt.",
        "Write a background prompt for an ad of {title} ({category}).",
        "{title}, category {category}. {description} Which background should its ad have?",
        "Suggest an ad background for {title} ({category}).",
        "Ad for {title} ({category}). {description} Describe a fitting background.",
        "Describe a background that sells {title} ({category}).",
        "Where should {title} ({category}) stand in its ad?",
        "The product is {title} ({category}). {description} Give a background prompt.",
        "For {title} in {category}: write the background of its ad.",
        "{category}: {title}. Prompt a background for it.",
    ),
}


def instruction(task: Task, product: Product, seed: int, limits: TextLimits = NANO_LIMITS, prompt: str = "") -> str:
    """The instruction of `task` about `product`, in the wording that `seed` draws: the same seed gives two products the same wording.

    A product shown to a segment of shoppers has it named at the end, in all wordings alike; the description gives way where both are long.
    `prompt` is the rough background prompt of `Task.PROMPT_REWRITING`; other tasks name none.
    """
    wordings, shoppers = WORDINGS[task], naming(product.segment)
    wording = wordings[int(np.random.default_rng([seed, len(wordings)]).integers(len(wordings)))]
    text = wording.format(
        title=shorten(product.title, limits.title),
        category=shorten(product.category, limits.category),
        description=shorten(product.description, min(limits.description, limits.description_and_segment - len(shoppers.encode()))),
        prompt=shorten(prompt, limits.prompt),
    )
    return " ".join(text.split()) + shoppers


def shorten(text: str, max_bytes: int) -> str:
    """`text` with its white space folded, cut at a word (or, in a long first word, at a character) to at most `max_bytes` of UTF-8."""
    folded = " ".join(text.split())
    if len(folded.encode()) <= max_bytes:
        return folded
    cut = folded.encode()[: max_bytes + 1].decode(errors="ignore")
    head, _, _ = cut.rpartition(" ")
    return head or folded.encode()[:max_bytes].decode(errors="ignore")
