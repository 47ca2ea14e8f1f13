"""The instructions of stage A and of the online loop: three task families, ten wordings each (METHOD, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from caig_rl.types import Product


class Task(StrEnum):
    """The task families of stage A."""

    IMAGE_UNDERSTANDING = "image_understanding"
    """From an ad image alone: describe its product and background."""
    CONTENT_UNDERSTANDING = "content_understanding"
    """From image and product text: describe the background."""
    PROMPT_GENERATION = "prompt_generation"
    """From product picture and text: write a background prompt. The online loop asks this."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Longest product text in an instruction, in UTF-8 bytes (a byte-level tokenizer makes at most one token a byte).

    The defaults leave room for picture, wording and a 48-token answer in the embedded policy's 256 positions.
    """

    title: int = 72
    category: int = 24
    description: int = 60


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


def instruction(task: Task, product: Product, seed: int, limits: TextLimits = NANO_LIMITS) -> str:
    """The instruction of `task` about `product`, in the wording that `seed` draws: the same seed gives two products the same wording."""
    wordings = WORDINGS[task]
    wording = wordings[int(np.random.default_rng([seed, len(wordings)]).integers(len(wordings)))]
    text = wording.format(
        title=shorten(product.title, limits.title),
        category=shorten(product.category, limits.category),
        description=shorten(product.description, limits.description),
    )
    return " ".join(text.split())


def shorten(text: str, max_bytes: int) -> str:
    """`text` with its white space folded, cut at a word (or, in a long first word, at a character) to at most `max_bytes` of UTF-8."""
    folded = " ".join(text.split())
    if len(folded.encode()) <= max_bytes:
        return folded
    cut = folded.encode()[: max_bytes + 1].decode(errors="ignore")
    head, _, _ = cut.rpartition(" ")
    return head or folded.encode()[:max_bytes].decode(errors="ignore")
