"""What is seen in a picture: a small network from pixels to the probability of each attribute's values.

The world has two sets, of different shape, trained apart on procedural scenes: the shoppers' and the relevance judge's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from caig_rl.types import ImageArray
from caig_rl.world.scenes import SCENE_SIZE
from caig_rl.world.vocabulary import ATTRIBUTES

WIDTHS: dict[str, tuple[int, int, int]] = {"shoppers": (32, 64, 96), "relevance": (24, 56, 112)}
"""Channels of each set of eyes."""
WEIGHTS_FOLDER = Path(__file__).parent / "weights"

Seen = dict[str, npt.NDArray[np.float64]]
"""Attribute -> (N, values) probabilities."""


class Eyes(nn.Module):
    """Convolutions over the picture and its coordinates, mean- and max-pooled into one linear head an attribute."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        self.body = nn.Sequential(
            nn.Conv2d(5, a, 3, stride=2, padding=1), nn.BatchNorm2d(a), nn.ReLU(),
            nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, c, 3, stride=2, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
        )  # fmt: skip
        self.heads = nn.ModuleDict({name: nn.Linear(2 * c, len(values)) for name, values in ATTRIBUTES.items()})
        line = torch.linspace(-1, 1, SCENE_SIZE)
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))
        self.register_buffer("grid", grid[None], persistent=False)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(N, 3, 64, 64) in [-1, 1] to attribute -> (N, values) logits."""
        grid = self.get_buffer("grid").expand(len(pictures), -1, -1, -1)
        features = self.body(torch.cat([pictures, grid], dim=1))
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


@lru_cache(maxsize=4)
def load_eyes(name: str) -> Eyes:
    """The trained eyes `name`, "shoppers" or "relevance", from the package's own weights."""
    eyes = Eyes(WIDTHS[name])
    eyes.load_state_dict(load_file(WEIGHTS_FOLDER / f"{name}.safetensors"))
    return eyes.eval()


@torch.no_grad()
def see(eyes: Eyes, pictures: list[ImageArray], batch_size: int = 128) -> Seen:
    """What `eyes` see in pictures of (64, 64, 3)."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    outputs = [eyes(stacked[k : k + batch_size]) for k in range(0, len(stacked), batch_size)]
    return {name: torch.cat([o[name] for o in outputs]).softmax(dim=1).double().numpy() for name in ATTRIBUTES}
