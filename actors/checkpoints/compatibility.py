"""What a checkpoint and the run that takes it up must share. Plain functions of the config."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from caig_rl.config.changes import identifies_the_run
from caig_rl.config.schema import Config
from caig_rl.types import Product

ADDED_LATER: Mapping[str, Any] = {"world.trap": True, "world.unseen_categories": 0, "segments.names": [], "guard.reward": None}
"""Keys that checkpoints of earlier versions lack, and the value by which such a run goes on as it did."""


_SECTIONS = ("world", "segments", "imaging", "renderer", "reward", "rollout")


def weights_fingerprint(config: Config) -> dict[str, Any]:
    """What decides whether the learner can load the weights at all: enough to measure them."""
    learner = config.learner
    return {
        "run.seed": config.run.seed,
        "policy.model": config.policy.model,
        "learner.finetune": learner.finetune,
        "learner.lora_rank": learner.lora_rank,
        "learner.zero_stage": learner.zero_stage,
    }


def run_fingerprint(config: Config, products: Sequence[Product], eval_products: Sequence[Product]) -> dict[str, Any]:
    """What decides how a run goes on, by dotted key: with another value it would be another run under the same name."""
    sections = {name: getattr(config, name).model_dump(mode="json") for name in _SECTIONS}
    # `changes` knows its keys one by one, timeouts and prices among them.
    del sections["reward"]["judge"]
    keys = {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
    policy = config.policy.model_dump(mode="json", include={"dtype", "temperature", "top_p", "max_tokens", "image_size"})
    keys |= {f"policy.{key}": value for key, value in policy.items()}
    return {
        **weights_fingerprint(config),
        # What may change is compared with the run's config.yaml, which says what it is now; a checkpoint may be older.
        **{key: value for key, value in keys.items() if identifies_the_run(key)},
        "guard.reward": config.guard.reward,
        "catalog.path": config.catalog.path,
        "evaluation.products": config.evaluation.products,
        "evaluation.prompts_per_product": config.evaluation.prompts_per_product,
        "the products": product_digest(products),
        "the evaluation's products": product_digest(eval_products),
    }


def product_digest(products: Sequence[Product]) -> str:
    """Number of products and a hash of their ids in order: a catalog that changed shows."""
    digest = hashlib.sha256("\n".join(product.product_id for product in products).encode()).hexdigest()
    return f"{len(products)} with ids {digest[:16]}"


def first_difference(written: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """In words, the first key of `wanted` in which a checkpoint was `written` otherwise; empty where there is none."""
    for key, value in wanted.items():
        before = written.get(key, ADDED_LATER.get(key))
        if before != value:
            return f"was written with {key}={before!r}, and this run has {value!r}"
    return ""
