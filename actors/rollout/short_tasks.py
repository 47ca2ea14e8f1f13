"""Short Ray tasks around the pools: load products, judge creatives, check prompts, write samples. No pixel passes through the driver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import ray
from ray import ObjectRef

from caig_rl.config.schema import TASK_CPUS
from caig_rl.evaluation.prompt_health import check_prompts as checked_as_language
from caig_rl.imaging.views import policy_view
from caig_rl.interfaces import Judge, ProductSource, PromptChecker
from caig_rl.runs.folder import RunFolder
from caig_rl.types import Cutout, Judgement, Product, PromptCheck

Creatives = list[npt.NDArray[np.uint8]]
"""One (candidates, size, size, 3) block a product."""
_OPTIONS = {"num_cpus": TASK_CPUS, "max_retries": 2}


@ray.remote(num_returns=3, **_OPTIONS)
def load_products(source: ProductSource, product_ids: Sequence[str], view_size: int) -> tuple[int, list[Cutout], npt.NDArray[np.uint8]]:
    """How many products were loaded (for the caller to await), their cut-outs, and the policy's pictures (N, view_size, view_size, 3)."""
    cutouts = source.cutouts(list(product_ids))
    return len(cutouts), cutouts, np.stack([policy_view(cutout, view_size) for cutout in cutouts])


@ray.remote(**_OPTIONS)
def judge_creatives(judge: Judge, products: Sequence[Product], creatives: Sequence[ObjectRef]) -> list[list[Judgement]]:
    """Judge every creative in the block at `creatives[0]`; `[i][k]` is product i's candidate k."""
    blocks: Creatives = ray.get(creatives[0])
    flat = [(product, creative) for product, block in zip(products, blocks, strict=True) for creative in block]
    judged = iter(judge.judge([product for product, _ in flat], [creative for _, creative in flat]))
    return [[next(judged) for _ in block] for block in blocks]


@ray.remote(**_OPTIONS)
def check_prompts(judge: Judge | None, products: Sequence[Product], prompts: Sequence[Sequence[str]]) -> list[list[PromptCheck]]:
    """Check every prompt; `[i][k]` is product i's prompt k. By the judge where it knows what a prompt should be, else as plain language."""
    flat = [(product, text) for product, texts in zip(products, prompts, strict=True) for text in texts]
    texts = [text for _, text in flat]
    found = judge.check_prompts([one for one, _ in flat], texts) if isinstance(judge, PromptChecker) else checked_as_language(texts)
    checks = iter(found)
    return [[next(checks) for _ in row] for row in prompts]


@ray.remote(**_OPTIONS)
def oracle_prompts(judge: Judge, products: Sequence[Product], count: int) -> list[list[str]]:
    """The prompts known to be best for each product; empty lists where nobody knows them."""
    return [judge.oracle_prompts(product, count) for product in products]


@ray.remote(**_OPTIONS)
def write_samples(root: str, run_name: str, names: Sequence[tuple[int, int, str]], creatives: Sequence[ObjectRef]) -> list[str]:
    """Save some creatives as `samples/NAME.png`: `names` holds (index in the block, candidate, name). Returns the file names."""
    blocks: Creatives = ray.get(creatives[0])
    folder = RunFolder(root, run_name)
    return [folder.save_sample(name, blocks[index][candidate]) for index, candidate, name in names]
