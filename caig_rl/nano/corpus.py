"""What the embedded policy reads in pre-training: METHOD's three task families, drawn from the world's pictures and words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import GREY, policy_view
from caig_rl.learning.pretrain.sft import SftExample
from caig_rl.nano.scenes_data import paste_product
from caig_rl.types import ImageArray
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import SCENE_SIZE, draw_scene
from caig_rl.world.suitability import sensible_spec
from caig_rl.world.vocabulary import TEMPLATES, caption

COMMON_SENSE = 0.3
"""How often the corpus' prompts follow common sense in an attribute, and else chance."""
TUNING_COMMON_SENSE = 0.4
"""The same in the tuning that closes pre-training, on prompt generation alone, where the policy has picture and text. Sets the initial
policy's relevance near 0.67: what is learned from either alone adds to it."""
PICTURE_SHARE, TEXT_SHARE = 0.4, 0.25
"""Shares of the tuning's examples with the picture alone (no text names the product) and with the text alone (the picture is plain ground).
Without the first the policy stays blind, without the second it unlearns its text: each tells the same."""
ALONE_COMMON_SENSE = 0.85
"""Common sense in those. A picture of another category can cost an answer no more than the categories' answers differ: 1.6 nats at 0.6,
2.3 at 0.7, 3.9 here (mean KL over the pairs of categories)."""

TaskShares = Mapping[Task, float]
ALL_TASKS: TaskShares = {Task.PROMPT_GENERATION: 0.6, Task.CONTENT_UNDERSTANDING: 0.2, Task.IMAGE_UNDERSTANDING: 0.2}
READING: TaskShares = {Task.CONTENT_UNDERSTANDING: 1.0}
"""For the reward model's backbone, which must see what is in a creative."""


def draw_corpus(
    count: int, seed: int, shares: TaskShares = ALL_TASKS, num_products: int = 2800, without: Collection[str] = ()
) -> list[SftExample]:
    """`count` examples over the "pretrain" products of all categories but `without`, the task families in the given shares."""
    source = WorldProducts(0, num_products, "pretrain", without=without)
    rng = np.random.default_rng((seed, 14))
    cutouts = source.cutouts([product.product_id for product in source.products])
    tasks = list(shares)
    examples = []
    for _ in range(count):
        number = int(rng.integers(num_products))
        product, task = source.products[number], tasks[int(rng.choice(len(tasks), p=list(shares.values())))]
        text = instruction(task, product, int(rng.integers(2**31)))
        spec = sensible_spec(product, rng, COMMON_SENSE)
        words = caption(spec, int(rng.integers(len(TEMPLATES))))
        if task is Task.PROMPT_GENERATION:
            examples.append(SftExample(text, policy_view(cutouts[number], SCENE_SIZE), words))
            continue
        imaging = ImagingConfig(product_scale=float(rng.uniform(0.55, 0.7)), baseline=float(rng.uniform(0.82, 0.9)))
        picture, _ = paste_product(draw_scene(spec, rng), cutouts[number], imaging)
        examples.append(SftExample(text, picture, words if task is Task.CONTENT_UNDERSTANDING else f"{product.title}, {words}"))
    return examples


def draw_tuning_corpus(count: int, seed: int, num_products: int = 2800, without: Collection[str] = ()) -> list[SftExample]:
    """`count` examples of prompt generation alone, from picture and text, and with more common sense from either alone."""
    source = WorldProducts(0, num_products, "pretrain", without=without)
    rng = np.random.default_rng((seed, 15))
    views, blank = product_views(source), np.full((SCENE_SIZE, SCENE_SIZE, 3), GREY, np.uint8)
    examples = []
    for _ in range(count):
        number = int(rng.integers(num_products))
        product, chance = source.products[number], rng.random()
        from_picture, from_text = chance < PICTURE_SHARE, chance >= 1.0 - TEXT_SHARE
        task = Task.PROMPT_FROM_PICTURE if from_picture else Task.PROMPT_GENERATION
        spec = sensible_spec(product, rng, ALONE_COMMON_SENSE if from_picture or from_text else TUNING_COMMON_SENSE)
        words = caption(spec, int(rng.integers(len(TEMPLATES))))
        examples.append(SftExample(instruction(task, product, int(rng.integers(2**31))), blank if from_text else views[number], words))
    return examples


def draw_named_products(num_products: int = 2800, without: Collection[str] = ()) -> list[SftExample]:
    """The "pretrain" products as the policy sees them, each with its title and description, for its vision tower to know them by sight."""
    source = WorldProducts(0, num_products, "pretrain", without=without)
    return [
        SftExample(instruction(Task.PRODUCT_DESCRIPTION, product, number), view, f"{product.title} {product.description}")
        for number, (product, view) in enumerate(zip(source.products, product_views(source), strict=True))
    ]


def product_views(source: WorldProducts) -> list[ImageArray]:
    """What the policy sees of each product."""
    cutouts = source.cutouts([product.product_id for product in source.products])
    return [policy_view(cutout, SCENE_SIZE) for cutout in cutouts]
