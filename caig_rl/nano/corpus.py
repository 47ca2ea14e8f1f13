"""What the embedded policy reads in pre-training: METHOD's three task families, drawn from the world's pictures and words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from caig_rl.config.schema import ImagingConfig
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import policy_view
from caig_rl.learning.pretrain.sft import SftExample
from caig_rl.nano.scenes_data import paste_product
from caig_rl.world.products import WorldProducts
from caig_rl.world.scenes import SCENE_SIZE, draw_scene
from caig_rl.world.suitability import sensible_spec
from caig_rl.world.vocabulary import TEMPLATES, caption

COMMON_SENSE = 0.3
"""How often the corpus' prompts follow common sense in an attribute, and else chance."""
TUNING_COMMON_SENSE = 0.6
"""The same in the tuning that closes pre-training, on prompt generation alone. Sets the initial policy's relevance near 0.55."""

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
    """`count` examples of prompt generation alone, with more common sense."""
    source = WorldProducts(0, num_products, "pretrain", without=without)
    rng = np.random.default_rng((seed, 15))
    cutouts = source.cutouts([product.product_id for product in source.products])
    views = [policy_view(cutout, SCENE_SIZE) for cutout in cutouts]
    examples = []
    for _ in range(count):
        number = int(rng.integers(num_products))
        product = source.products[number]
        words = caption(sensible_spec(product, rng, TUNING_COMMON_SENSE), int(rng.integers(len(TEMPLATES))))
        examples.append(SftExample(instruction(Task.PROMPT_GENERATION, product, int(rng.integers(2**31))), views[number], words))
    return examples
