"""The per-image reward model (METHOD, section 4): s(creative | product) in log-odds of a click, CTR = sigmoid(a_product + s)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoProcessor, PreTrainedModel, ProcessorMixin

from caig_rl.errors import ModelFolderError
from caig_rl.imaging.views import judge_view
from caig_rl.models.logprobs import pad_token_rows
from caig_rl.models.prompting import chat_prompt, encode_prompts
from caig_rl.types import ImageArray, Product

HEAD_FILE = "reward_head.safetensors"
SPEC_FILE = "reward.json"


class RewardError(RuntimeError):
    """A creative whose reward could not be computed. It is a failure of that creative, never a default number."""

    def __init__(self, product_ids: Sequence[str]) -> None:
        super().__init__(
            f"the reward model gave no finite score for {len(product_ids)} creative(s) of product(s) {', '.join(product_ids[:5])}"
        )
        self.product_ids = tuple(product_ids)

    def __reduce__(self) -> tuple[type[RewardError], tuple[tuple[str, ...]]]:
        return RewardError, (self.product_ids,)


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """What a reward folder says of itself beside its weights (`reward.json`)."""

    image_size: int
    """Side of the creative as the model sees it, in pixels."""
    prior_logit: float = -4.0
    """a for a product without clicks of its own, in log-odds: the intercept that fits all training rows together."""
    text_template: str = "{title} ({category})"
    """The product's text beside the creative; fields title, category, description."""


class RewardScorer(nn.Module):
    """A Hugging Face image-text-to-text backbone with a linear head on the last token's hidden state."""

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
        for name in (HEAD_FILE, SPEC_FILE):
            if not (folder / name).is_file():
                raise ModelFolderError(f"reward model {folder}: {name} is missing")
        try:
            spec = RewardSpec(**json.loads((folder / SPEC_FILE).read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError) as error:
            raise ModelFolderError(f"reward model {folder}: {SPEC_FILE} cannot be read ({error})") from error
        backbone = AutoModel.from_pretrained(folder, dtype=dtype, trust_remote_code=trust_remote_code, use_safetensors=True)
        scorer = cls(backbone, AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code), spec)
        scorer.head.load_state_dict(load_file(folder / HEAD_FILE))
        return scorer.eval()

    def save(self, folder: Path) -> None:
        """Write the folder that `load` reads."""
        self.backbone.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        save_file({name: value.contiguous() for name, value in self.head.state_dict().items()}, folder / HEAD_FILE)
        (folder / SPEC_FILE).write_text(json.dumps(asdict(self.spec), indent=2) + "\n", encoding="utf-8")

    def text_of(self, product: Product) -> str:
        """The product's text as the model reads it."""
        return self.spec.text_template.format(title=product.title, category=product.category, description=product.description)

    def forward(self, texts: Sequence[str], views: Sequence[ImageArray]) -> torch.Tensor:
        """(B,) float32 scores s in log-odds, with gradient, of `views[i]` (image_size, image_size, 3) as ads for the product of
        `texts[i]`."""
        encoded = encode_prompts(self.processor, [chat_prompt(self.processor, text) for text in texts], views)
        inputs = {"input_ids": pad_token_rows(encoded.token_ids, 0)}
        inputs["attention_mask"] = pad_token_rows([[1] * len(ids) for ids in encoded.token_ids], 0)
        inputs |= {name: pad_token_rows(values, 0) for name, values in encoded.token_types.items()} | encoded.pictures
        device, dtype = self.head.weight.device, self.backbone.dtype
        inputs = {name: value.to(device, dtype if value.is_floating_point() else value.dtype) for name, value in inputs.items()}
        hidden = self.backbone(**inputs, use_cache=False).last_hidden_state
        last = torch.tensor([len(ids) - 1 for ids in encoded.token_ids], device=device)
        scores: torch.Tensor = self.head(hidden[torch.arange(len(last), device=device), last].float()).squeeze(-1)
        return scores

    @torch.no_grad()
    def score(self, products: Sequence[Product], creatives: Sequence[ImageArray], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """(N,) scores in log-odds of `creatives[i]`, (size, size, 3) of any size, as ads for `products[i]`.

        Raises:
            RewardError: a score is not finite.
            ValueError: as many products as creatives are needed.
        """
        if len(products) != len(creatives):
            raise ValueError(f"{len(products)} products for {len(creatives)} creatives")
        texts = [self.text_of(product) for product in products]
        scores = np.empty(len(creatives), dtype=np.float32)
        for start in range(0, len(creatives), batch_size):
            part = slice(start, start + batch_size)
            scores[part] = self(texts[part], [judge_view(creative, self.spec.image_size) for creative in creatives[part]]).cpu().numpy()
        broken = np.flatnonzero(~np.isfinite(scores))
        if len(broken):
            raise RewardError([products[int(index)].product_id for index in broken])
        return scores

    def ctr(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(N,) click-through rates, fractions of impressions, for products without clicks of their own: sigmoid(prior_logit + s)."""
        return 1.0 / (1.0 + np.exp(-(self.spec.prior_logit + scores.astype(np.float64))))
