"""Stage A: pre-training of the policy's backbone (`caig-rl pretrain`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from caig_rl.config.section import NANO, FilePath, Share
from caig_rl.config.training import TrainJobConfig

Family = Literal["image_understanding", "content_understanding", "prompt_generation"]
"""The three task families of stage A."""


def _shares() -> dict[Family, float]:
    return {"image_understanding": 0.2, "content_understanding": 0.2, "prompt_generation": 0.6}


class PretrainConfig(TrainJobConfig):
    """How the policy learns about products and backgrounds before it learns from clicks."""

    backbone: FilePath = NANO
    """Folder of the image-text-to-text model to start from, or "nano"."""
    creatives: FilePath | None = None
    """CSV, JSONL or Parquet file of existing ads with the words for their backgrounds: columns product_id, image, caption. Empty: the
    catalog alone, which teaches product names and titles, but no backgrounds."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our column name -> that file's: {"product_id": "sku", "caption": "background"}."""
    max_faulty_share: Share = 0.05
    """More faulty rows of that file than this share stop the job."""
    shares: dict[Family, float] = Field(default_factory=_shares)
    """Weights of the task families; one that is not named is left out. A product without captioned ads has no prompt to learn."""
    validation_share: Share = 0.05
    """Products kept for early stopping."""
    out: FilePath = "runs/pretrained"
    """Local folder for the best model, a policy's folder; the job's checkpoints lie beside it."""

    @model_validator(mode="after")
    def _some_family_has_weight(self) -> PretrainConfig:
        if min(self.shares.values(), default=0.0) < 0.0 or sum(self.shares.values()) <= 0.0:
            raise ValueError(f"pretrain.shares must not be negative, and one of them above 0: {self.shares}")
        return self
