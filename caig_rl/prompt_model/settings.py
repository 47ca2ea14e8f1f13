"""What the configuration asks of the prompt model: keys left empty follow the objective."""

from __future__ import annotations

from dataclasses import dataclass

from caig_rl.config.schema import Config
from caig_rl.objectives.registry import OBJECTIVES
from caig_rl.prompt_model.screening import Screening

MODEL_SHARE, PRODUCT_SHARE = 0.7, 0.8
"""Defaults of an objective with product-centric rewards. The spike in METHOD section 6 chose them on seeds 100 and 101."""


@dataclass(frozen=True, slots=True)
class PromptModelSettings:
    """All keys resolved."""

    written: int
    """M prompts a product."""
    painted: int
    """K of them."""
    screening: Screening
    model_share: float
    product_share: float
    min_correlation: float

    @property
    def screens(self) -> bool:
        """True where fewer prompts are painted than written."""
        return self.painted < self.written

    @property
    def shapes(self) -> bool:
        """True where rewards are changed before they are learned from."""
        return self.model_share > 0.0 or self.product_share > 0.0


def resolved_settings(config: Config) -> PromptModelSettings:
    """`prompt_model` and `rollout` with every default filled in: product-centric for an objective that shapes rewards, else off."""
    model, is_centred = config.prompt_model, OBJECTIVES[config.objective].shapes_rewards
    model_share, product_share, screening = (MODEL_SHARE, PRODUCT_SHARE, "thompson") if is_centred else (0.0, 0.0, "first")
    return PromptModelSettings(
        written=config.rollout.written or config.rollout.candidates,
        painted=config.rollout.candidates,
        screening=model.screening or screening,  # type: ignore[arg-type]
        model_share=model_share if model.model_share is None else model.model_share,
        product_share=product_share if model.product_share is None else model.product_share,
        min_correlation=model.min_correlation,
    )
