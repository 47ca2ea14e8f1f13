"""The per-image reward model (METHOD, section 4): s(creative | product) in log-odds of a click, CTR = sigmoid(a_product + s)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from caig_rl.imaging.views import judge_view
from caig_rl.models.reward.backbone import last_hidden, load_backbone, load_heads, read_spec, save_heads, write_spec
from caig_rl.models.reward.interface import RewardError, check_finite, check_lengths
from caig_rl.segments import naming
from caig_rl.types import ImageArray, Product

__all__ = ["RewardError", "RewardScorer", "RewardSpec"]


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """What a reward folder says of itself beside its weights (`reward.json`)."""

    image_size: int
    """Side of the creative as the model sees it, in pixels."""
    prior_logit: float = -4.0
    """a for a product without clicks of its own, in log-odds: the intercept that fits all validation rows together."""
    text_template: str = "Product: {title} ({category}). Describe the background of this ad."
    """The product's text beside the creative; fields title, category, description. A question that the backbone was taught to answer, so
    that the last token holds what it would say of the background."""
    tau: float = 1.0
    """Log-odds that a creative is the better one, per log-odds of a click between it and the other."""
    kind: str = "scorer"
    segments: tuple[str, ...] = ()
    """Segments of shoppers whose clicks it was taught apart, each named in its products' texts."""


class RewardScorer(nn.Module):
    """A Hugging Face image-text-to-text backbone with a linear head on the last token's hidden state."""

    kind = "scorer"

    def __init__(self, backbone: PreTrainedModel, processor: ProcessorMixin, spec: RewardSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.processor = processor
        self.spec = spec
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False) -> RewardScorer:
        """Read a checked reward folder: a Hugging Face backbone, `reward_head.safetensors` and `reward.json`.

        Raises:
            ModelFolderError: a file of the reward's own is missing or broken.
        """
        spec = read_spec(folder, RewardSpec)
        scorer = cls(*load_backbone(folder, dtype, trust_remote_code), spec)
        load_heads(folder, scorer.head)
        return scorer.eval()

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads."""
        self.backbone.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        save_heads(folder, self.head)
        write_spec(folder, self.spec)

    def text_of(self, product: Product) -> str:
        """The product's text as the model reads it."""
        text = self.spec.text_template.format(title=product.title, category=product.category, description=product.description)
        return text + naming(product.segment)

    def forward(self, texts: Sequence[str], views: Sequence[ImageArray]) -> torch.Tensor:
        """(B,) float32 scores s in log-odds, with gradient, of `views[i]` (image_size, image_size, 3) as ads for the product of
        `texts[i]`."""
        hidden = last_hidden(self.backbone, self.processor, texts, views, self.head.weight.device)
        scores: torch.Tensor = self.head(hidden.to(self.head.weight.dtype)).squeeze(-1).float()
        return scores

    @torch.no_grad()
    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) scores in log-odds of `creatives[i]`, (size, size, 3) of any size, as ads for `products[i]`.

        Raises:
            RewardError: a score is not finite.
            ValueError: as many products as creatives are needed.
        """
        check_lengths(products, creatives)
        texts = [self.text_of(product) for product in products]
        scores = np.empty(len(creatives), dtype=np.float32)
        for start in range(0, len(creatives), batch_size):
            part = slice(start, start + batch_size)
            scores[part] = self(texts[part], [judge_view(creative, self.spec.image_size) for creative in creatives[part]]).cpu().numpy()
        return check_finite(scores, products)

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) log-odds that `firsts[i]` is clicked more than `seconds[i]`: tau * (s_first - s_second), without position bias."""
        difference = self.score(products, firsts, batch_size) - self.score(products, seconds, batch_size)
        return np.float32(self.spec.tau) * difference

    def ctr(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(N,) click-through rates, fractions of impressions, for products without clicks of their own: sigmoid(prior_logit + s)."""
        return 1.0 / (1.0 + np.exp(-(self.spec.prior_logit + scores.astype(np.float64))))
