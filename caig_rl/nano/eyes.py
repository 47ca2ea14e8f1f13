"""Train the world's two sets of eyes, on procedural scenes only."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from caig_rl.nano.autoencoder import Progress, to_tensor
from caig_rl.nano.scenes_data import ScenePictures
from caig_rl.world.eyes import WIDTHS, Eyes
from caig_rl.world.vocabulary import ATTRIBUTES


def _labels(pictures: ScenePictures) -> dict[str, Tensor]:
    return {name: torch.tensor([getattr(spec, name) for spec in pictures.specs]) for name in ATTRIBUTES}


def _blurred(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Half of the pictures lose a little sharpness, as a creative scaled up and down again does."""
    out = images.copy()
    for index in np.nonzero(rng.random(len(images)) < 0.5)[0]:
        out[index] = cv2.GaussianBlur(images[index], (0, 0), float(rng.uniform(0.3, 1.3)))
    return out


def train_eyes(name: str, pictures: ScenePictures, epochs: int, seed: int, progress: Progress, batch_size: int = 64) -> Eyes:
    """Train the eyes `name` to read every attribute of every picture."""
    torch.manual_seed(seed)
    rng = np.random.default_rng((seed, 13))
    eyes, labels = Eyes(WIDTHS[name]), _labels(pictures)
    steps = epochs * (len(pictures.images) // batch_size)
    optimizer = torch.optim.AdamW(eyes.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        rows = rng.choice(len(pictures.images), batch_size, replace=False)
        batch = to_tensor(_blurred(pictures.images[rows], rng))
        batch = batch * float(rng.uniform(0.94, 1.06)) + 0.02 * torch.randn_like(batch)
        outputs = eyes(batch)
        index = torch.from_numpy(rows)
        loss = torch.stack([F.cross_entropy(outputs[a], labels[a][index], label_smoothing=0.02) for a in ATTRIBUTES]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(f"{name} eyes", step + 1, steps, loss.item())
    return eyes.eval()


@torch.no_grad()
def eyes_accuracy(eyes: Eyes, pictures: ScenePictures) -> dict[str, float]:
    """Share of pictures each attribute is read rightly in, and their mean under "macro"."""
    labels = _labels(pictures)
    outputs = [eyes(to_tensor(pictures.images[k : k + 128])) for k in range(0, len(pictures.images), 128)]
    shares = {name: (torch.cat([o[name] for o in outputs]).argmax(1) == labels[name]).double().mean().item() for name in ATTRIBUTES}
    return {**shares, "macro": float(np.mean(list(shares.values())))}
