"""From a row of stage A's training file to one example: a task family by its weight, a task of it, one of its ten wordings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caig_rl.config.pretrain import Family
from caig_rl.data.clicks.groups import decode_png
from caig_rl.data.instructions import FAMILIES, Task, instruction
from caig_rl.learning.pretrain.sft import SftExample
from caig_rl.types import Product

WITHOUT_CREATIVE = (Task.PRODUCT_DESCRIPTION, Task.TITLE_WRITING)
"""What can be asked about a product's photo alone."""
OF_THE_PHOTO = (Task.TITLE_WRITING, Task.PROMPT_GENERATION, Task.PROMPT_REWRITING)
"""Asked about the photo, also where there is an ad."""


def drawn_examples(columns: Mapping[str, Sequence[Any]], epoch: int | None, shares: Mapping[Family, float], seed: int) -> list[SftExample]:
    """One example a row of a batch of `PRETRAIN_SCHEMA` columns, drawn from `seed`, the row's number and the epoch; None (validation) draws
    the same each time. Some family with weight must be able to ask about each row, see `asks_about_photos`."""
    examples = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        rng = np.random.default_rng([seed, int(row["number"]), 0 if epoch is None else epoch + 1])
        examples.append(_example(row, shares, rng))
    return examples


def asks_about_photos(shares: Mapping[Family, float]) -> bool:
    """Whether a family with weight can ask about a product's photo alone."""
    return bool(tasks_of_row(False, shares))


def tasks_of_row(has_caption: bool, shares: Mapping[Family, float]) -> dict[Task, float]:
    """Task -> probability: a family by its weight among those that can ask, then any task of it. Empty where none can."""
    weighted = [family for family, weight in shares.items() if weight]
    possible = {family: [task for task in FAMILIES[family] if has_caption or task in WITHOUT_CREATIVE] for family in weighted}
    total = sum(shares[family] for family, tasks in possible.items() if tasks)
    return {task: shares[family] / total / len(tasks) for family, tasks in possible.items() for task in tasks}


def rough_draft(prompt: str, rng: np.random.Generator) -> str:
    """Half of the prompt's parts (between commas, else its words), in random order: what a rewriting starts from."""
    parts = [part.strip() for part in prompt.split(",") if part.strip()]
    joint = ", " if len(parts) > 1 else " "
    parts = parts if len(parts) > 1 else prompt.split()
    kept = rng.permutation(len(parts))[: math.ceil(len(parts) / 2)]
    return joint.join(parts[int(index)] for index in kept)


def _example(row: Mapping[str, Any], shares: Mapping[Family, float], rng: np.random.Generator) -> SftExample:
    caption = str(row["caption"])
    chances = tasks_of_row(bool(caption), shares)
    task = list(chances)[int(rng.choice(len(chances), p=list(chances.values())))]
    product = Product(*(str(row[name]) for name in ("product_id", "title", "category", "description")))
    draft = rough_draft(caption, rng) if task is Task.PROMPT_REWRITING else ""
    picture = row["photo"] if task in OF_THE_PHOTO or not caption else row["creative"]
    answers = {
        Task.IMAGE_UNDERSTANDING: f"{product.title}, {caption}",
        Task.PRODUCT_DESCRIPTION: product.title,
        Task.TITLE_WRITING: product.title,
    }
    return SftExample(instruction(task, product, int(rng.integers(2**31)), prompt=draft), decode_png(picture), answers.get(task, caption))
