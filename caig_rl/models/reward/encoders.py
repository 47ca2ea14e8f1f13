"""The paper's trained baselines as far as they are public (METHOD, section 5): VAM, an image encoder over a product's creatives, and
CG4CTR, image and text encoders fused. Both score each creative alone; they differ in text and loss (`caig_rl.learning.reward.losses`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SwinConfig,
    SwinModel,
)

from caig_rl.imaging.views import judge_view
from caig_rl.models.reward.backbone import load_heads, read_spec, save_heads, write_spec
from caig_rl.models.reward.interface import check_finite, check_lengths
from caig_rl.segments import naming
from caig_rl.types import ImageArray, Product

IMAGE_FOLDER, TEXT_FOLDER = "image_encoder", "text_encoder"


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What a reward folder says of itself beside its weights (`reward.json`)."""

    kind: Literal["vam", "cg4ctr"]
    image_size: int
    """Side of the creative as the encoder sees it, in pixels."""
    tau: float = 1.0
    """Log-odds that a creative is the better one, per unit of score between it and the other."""
    text_template: str = "{title} ({category})"
    """CG4CTR alone: the product's text; fields title, category, description."""
    max_tokens: int = 64
    segments: tuple[str, ...] = ()
    """CG4CTR alone: segments of shoppers whose clicks it was taught apart, each named in its products' texts."""


class EncoderReward(nn.Module):
    """A Hugging Face image encoder, for CG4CTR a text encoder beside it, and two heads: the score, and (VAM) the CTR in per cent."""

    def __init__(
        self,
        spec: EncoderSpec,
        image_encoder: PreTrainedModel,
        text_encoder: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        super().__init__()
        if (spec.kind == "cg4ctr") != (text_encoder is not None and tokenizer is not None):
            raise ValueError(f"kind {spec.kind!r}: CG4CTR needs a text encoder and its tokenizer, VAM takes none")
        self.spec = spec
        self.kind = spec.kind
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        width = image_encoder.config.hidden_size
        fused = width + (text_encoder.config.hidden_size if text_encoder is not None else 0)
        self.heads = nn.ModuleDict({"fuse": nn.Linear(fused, width), "score": nn.Linear(width, 1), "ctr": nn.Linear(width, 1)})

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> EncoderReward:
        """Read a checked reward folder.

        Raises:
            ModelFolderError: a file of the reward's own is missing or broken.
        """
        spec = read_spec(folder, EncoderSpec)
        image = AutoModel.from_pretrained(folder / IMAGE_FOLDER, dtype=dtype, use_safetensors=True)
        if spec.kind == "vam":
            model = cls(spec, image)
        else:
            text = BertModel.from_pretrained(folder / TEXT_FOLDER, add_pooling_layer=False, dtype=dtype, use_safetensors=True)
            model = cls(spec, image, text, AutoTokenizer.from_pretrained(folder / TEXT_FOLDER))
        load_heads(folder, model.heads)
        return model.eval()

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads."""
        self.image_encoder.save_pretrained(folder / IMAGE_FOLDER)
        if self.text_encoder is not None and self.tokenizer is not None:
            self.text_encoder.save_pretrained(folder / TEXT_FOLDER)
            self.tokenizer.save_pretrained(folder / TEXT_FOLDER)
        save_heads(folder, self.heads)
        write_spec(folder, self.spec)

    def text_of(self, product: Product) -> str:
        """The product's text as CG4CTR reads it; VAM reads none."""
        text = self.spec.text_template.format(title=product.title, category=product.category, description=product.description)
        return text + naming(product.segment)

    def forward(self, texts: Sequence[str], views: Sequence[ImageArray]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) scores and (B,) CTRs in per cent, float32, with gradient, of `views[i]` (image_size, image_size, 3)."""
        device = self.heads["score"].weight.device
        pixels = torch.from_numpy(np.stack(views)).to(device).permute(0, 3, 1, 2)
        pixels = (pixels.to(self.image_encoder.dtype) - 127.5) / 127.5
        features = [_pooled(self.image_encoder(pixel_values=pixels).last_hidden_state)]
        if self.text_encoder is not None and self.tokenizer is not None:
            inputs = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.spec.max_tokens, return_tensors="pt").to(
                device
            )
            mask = inputs["attention_mask"]
            hidden = self.text_encoder(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state.float()
            features.append((hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))
        fused = nn.functional.gelu(self.heads["fuse"](torch.cat(features, dim=-1).to(self.heads["fuse"].weight.dtype)))
        return self.heads["score"](fused).squeeze(-1).float(), self.heads["ctr"](fused).squeeze(-1).float()

    @torch.no_grad()
    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) scores of `creatives[i]`, (size, size, 3) of any size, as ads for `products[i]`.

        Raises:
            RewardError: a score is not finite.
            ValueError: as many products as creatives are needed.
        """
        check_lengths(products, creatives)
        scores = np.empty(len(creatives), dtype=np.float32)
        for start in range(0, len(creatives), batch_size):
            part = slice(start, start + batch_size)
            views = [judge_view(creative, self.spec.image_size) for creative in creatives[part]]
            scores[part] = self([self.text_of(product) for product in products[part]], views)[0].cpu().numpy()
        return check_finite(scores, products)

    def compare(
        self, products: Sequence[Product], firsts: Sequence[ImageArray], seconds: Sequence[ImageArray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """(M,) log-odds that `firsts[i]` is clicked more than `seconds[i]`: tau * (s_first - s_second)."""
        difference = self.score(products, firsts, batch_size) - self.score(products, seconds, batch_size)
        return np.float32(self.spec.tau) * difference


def small_image_encoder(image_size: int) -> PreTrainedModel:
    """A Swin encoder of 0.14 M parameters with random weights, for pictures of `image_size` (a multiple of 32)."""
    return SwinModel(SwinConfig(image_size=image_size, patch_size=4, embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=4))


def small_text_encoder(vocabulary: int) -> PreTrainedModel:
    """A BERT encoder of two layers of width 64 with random weights."""
    config = BertConfig(vocab_size=vocabulary, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    return BertModel(config, add_pooling_layer=False)


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """(B, d) float32 mean over tokens (B, L, d), or over the map (B, d, height, width) of a convolutional encoder."""
    return features.float().mean(dim=1) if features.dim() == 3 else features.float().mean(dim=(2, 3))
