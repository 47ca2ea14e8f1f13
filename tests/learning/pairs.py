"""Made-up preference groups over the tiny policy's vocabulary, and a learner's config for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caig_rl.config.schema import Config
from caig_rl.types import Admission, ImageArray, NegativeKind, PolicyVersion, PreferenceGroup, Rollout
from tests.tiny import random_picture


def make_rollout(seed: int, length: int) -> Rollout:
    ids = np.random.default_rng(seed).integers(20, 300, length)
    return Rollout("made up", tuple(int(token) for token in ids), (-5.0,) * length)


def make_pairs(count: int) -> list[PreferenceGroup]:
    """Pairs of unequal answer lengths; even ones have another product's text as negative, odd ones a masked picture."""
    pairs = []
    for index in range(count):
        is_text = index % 2 == 0
        pairs.append(
            PreferenceGroup(
                admission=Admission(index, 0, f"p{index}", index),
                version=PolicyVersion(0, 0),
                instruction=f"background for mug {index}",
                candidates=(make_rollout(index, 4 + index % 3), make_rollout(100 + index, 3 + index % 4)),
                scores=(1.0, 0.0),
                negative=NegativeKind.OTHER_TEXT if is_text else NegativeKind.MASKED_IMAGE,
                negative_seed=index,
                negative_product_id="other" if is_text else "",
                negative_instruction=f"background for a lamp {index}" if is_text else "",
            )
        )
    return pairs


def make_views(count: int) -> list[ImageArray]:
    return [random_picture(1000 + index) for index in range(count)]


def make_config(folder: Path, objective: str = "pcpo_paper", **learner: object) -> Config:
    settings: dict[str, object] = {
        "batch_size": 4,
        "micro_batch_size": 2,
        "lora_rank": 4,
        "lora_alpha": 8,
        "lr": 1e-2,
        "zero_stage": 1,
        "threads": 1,
    }
    return Config.model_validate({"objective": objective, "policy": {"model": str(folder)}, "learner": settings | learner})
