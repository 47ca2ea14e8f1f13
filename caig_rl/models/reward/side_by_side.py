"""The paper's reward model (METHOD, stage B): two creatives of a product side by side in one picture, which of them is clicked more?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin

from caig_rl.imaging.views import GREY, judge_view
from caig_rl.models.prompting import fixed_image_size
from caig_rl.models.reward.backbone import last_hidden, load_backbone, load_heads, read_spec, save_heads, write_spec
from caig_rl.models.reward.interface import check_finite, check_lengths, scores_from_comparisons
from caig_rl.segments import naming
from caig_rl.types import ImageArray, Product

QUESTION = "{title} ({category}). {description} Which of the two ads is clicked more, the left or the right one?"


@dataclass(frozen=True, slots=True)
class SideBySideSpec:
    """What a reward folder says of itself beside its weights (`reward.json`)."""

    creative_size: int
    """Side of each creative as the model sees it, in pixels; the picture is (creative_size, 2 creative_size). 512 in the paper."""
    ctr_mean: float = 0.0
    """CTR of the mean training creative; the CTR head predicts (CTR - ctr_mean) / ctr_std."""
    ctr_std: float = 1.0
    text_template: str = QUESTION
    """The question, with the product's text; fields title, category, description."""
    kind: str = "side_by_side"
    segments: tuple[str, ...] = ()
    """Segments of shoppers whose clicks it was taught apart, each named in its products' texts."""


class SideBySideReward(nn.Module):
    """A Hugging Face image-text-to-text backbone with two heads on the last token's hidden state h: Linear(d, 2) for left or right, and
    Linear(d, 2) for the two CTRs."""

    kind = "side_by_side"

    def __init__(self, backbone: PreTrainedModel, processor: ProcessorMixin, spec: SideBySideSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.processor = processor
        self.spec = spec
        width = backbone.config.get_text_config().hidden_size
        self.heads = nn.ModuleDict({"side": nn.Linear(width, 2), "ctr": nn.Linear(width, 2)})
        for head in self.heads.values():
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        # A processor for pictures of one size takes a square: the pair then stands in its middle, over grey.
        self._square = fixed_image_size(processor) is not None

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False) -> SideBySideReward:
        """Read a checked reward folder, both heads included.

        Raises:
            ModelFolderError: a file of the reward's own is missing or broken.
        """
        model = cls(*load_backbone(folder, dtype, trust_remote_code), read_spec(folder, SideBySideSpec))
        load_heads(folder, model.heads)
        return model.eval()

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads."""
        self.backbone.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        save_heads(folder, self.heads)
        write_spec(folder, self.spec)

    def text_of(self, product: Product) -> str:
        """The question about this product."""
        text = self.spec.text_template.format(title=product.title, category=product.category, description=product.description)
        return " ".join(text.split()) + naming(product.segment)

    def picture(self, left: ImageArray, right: ImageArray) -> ImageArray:
        """(creative_size, 2 creative_size, 3), or that over a grey square for a processor that takes squares."""
        return side_by_side(left, right, self.spec.creative_size, self._square)

    def forward(self, texts: Sequence[str], pictures: Sequence[ImageArray]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 2) logits of "left" and "right", and (B, 2) normalised CTRs of left and right, float32, with gradient."""
        hidden = last_hidden(self.backbone, self.processor, texts, pictures, self.heads["side"].weight.device)
        hidden = hidden.to(self.heads["side"].weight.dtype)
        return self.heads["side"](hidden).float(), self.heads["ctr"](hidden).float()

    @torch.no_grad()
    def left_log_odds(
        self, products: Sequence[Product], lefts: Sequence[ImageArray], rights: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) log-odds of "left" in this order alone: it may depend on the position. Raises ValueError where lengths differ."""
        check_lengths(products, lefts, rights)
        texts = [self.text_of(product) for product in products]
        out = np.empty(len(products), dtype=np.float32)
        for start in range(0, len(products), batch_size):
            part = slice(start, start + batch_size)
            pictures = [self.picture(left, right) for left, right in zip(lefts[part], rights[part], strict=True)]
            logits, _ = self(texts[part], pictures)
            out[part] = (logits[:, 0] - logits[:, 1]).cpu().numpy()
        return out

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) log-odds that `firsts[i]` is clicked more, both orders averaged: swapping the two turns the sign and nothing else.

        Raises:
            RewardError: an answer is not finite.
        """
        one = self.left_log_odds(products, firsts, seconds, batch_size)
        other = self.left_log_odds(products, seconds, firsts, batch_size)
        return check_finite(((one - other) / 2.0).astype(np.float32), products)

    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) scores from all comparisons inside each product, in log-odds of winning; O(K^2) for K candidates.

        Raises:
            RewardError: an answer is not finite.
        """
        return scores_from_comparisons(products, creatives, lambda p, a, b: self.compare(p, a, b, batch_size))


def side_by_side(left: ImageArray, right: ImageArray, side: int, square: bool = False) -> ImageArray:
    """Two creatives in one picture, (side, 2 side, 3), or in the middle of a grey (2 side, 2 side, 3)."""
    # Already at its size, a view passes unchanged, and scaling it again would cost more than the rest.
    halves = [view if view.shape[:2] == (side, side) else judge_view(view, side) for view in (left, right)]
    pair = np.concatenate(halves, axis=1)
    if not square:
        return pair
    return np.asarray(cv2.copyMakeBorder(pair, side // 2, side - side // 2, 0, 0, cv2.BORDER_CONSTANT, value=(GREY,) * 3), dtype=np.uint8)
