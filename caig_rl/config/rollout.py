"""`rollout` and `prompt_model`: what a round writes, paints and prefers to paint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from caig_rl.config.section import Section as _Section


class RolloutConfig(_Section):
    """Size and freshness of a round."""

    rounds: int = Field(6, ge=1)
    products_per_round: int = Field(64, ge=1)
    candidates: int = Field(4, ge=2)
    """Prompts per product that are painted and scored, K."""
    written: int | None = Field(None, ge=2)
    """Prompts per product that are written, M: `prompt_model.screening` says which K of them are painted. Empty: as many as are painted."""
    shard_size: int = Field(8, ge=1)
    """Products per shard, the unit of rollout."""
    max_staleness: Literal[0, 1] = 0
    """Versions a rollout may be behind. 0: strictly on policy. 1: rollout and learning overlap."""
    max_attempts: int = Field(2, ge=1)
    """A shard that fails or loses its worker this often fails its products."""


class PromptModelConfig(_Section):
    """A small Bayesian model of (product, prompt) -> reward that learns from all scored creatives of the run. Empty keys: on for objective
    "pcpo", off for the others."""

    screening: Literal["first", "best", "thompson"] | None = None
    """Which of the written prompts are painted: as written, the best by the model's mean, or by one draw of its posterior."""
    model_share: float | None = Field(None, ge=0.0, le=1.0)
    """Share of a creative's reward that the model's prediction replaces: it averages over all creatives like it."""
    product_share: float | None = Field(None, ge=0.0, le=1.0)
    """Share of what a prompt is worth to any product that is taken off its reward, so that the product is what decides."""
    min_correlation: float = Field(0.1, ge=-1.0, le=1.0)
    """Held-out correlation with the reward below which the model is not asked: the run goes on without it, and says so."""
