"""Stage 1 of the embedded renderer: a tiny autoencoder, 64 px to 16 x 16 x 4 latents that are centred and scaled per channel."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

log = logging.getLogger(__name__)

LATENT_CHANNELS = 4
Progress = Callable[[str, int, int, float], None]
"""(stage, step, steps, loss)."""


def new_autoencoder() -> AutoencoderTiny:
    """An untrained autoencoder of 0.37 M parameters, downscaling four times."""
    return AutoencoderTiny(
        encoder_block_out_channels=(40, 40, 40),
        decoder_block_out_channels=(40, 40, 40),
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 1, 1),
        latent_channels=LATENT_CHANNELS,
        upsampling_scaling_factor=2,
    )


def to_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _reconstruction_loss(restored: Tensor, images: Tensor) -> Tensor:
    """Absolute and squared error, and absolute error of the horizontal and vertical differences, which keeps small props."""
    error = restored - images
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges


def train_autoencoder(images: npt.NDArray[np.uint8], steps: int, batch_size: int, seed: int, progress: Progress) -> AutoencoderTiny:
    """Train with batch-normalised latents, then fold the normalisation into the encoder's last convolution.

    The scheduler's noise assumes latents of mean 0 and deviation 1; the pipeline can only scale, not centre, so the weights do both.
    """
    torch.manual_seed(seed)
    model = new_autoencoder().to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(LATENT_CHANNELS, affine=False, momentum=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.08)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        batch = to_tensor(images[torch.randint(len(images), (batch_size,), generator=generator).numpy()])
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = norm(model.encoder(batch).float())
            restored = model.decoder(latents + 0.03 * torch.randn_like(latents))
        loss = _reconstruction_loss(restored.float(), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress("autoencoder", step + 1, steps, loss.item())
    _fold_normalisation(model, norm)
    return model.to(memory_format=torch.contiguous_format).eval()


def _fold_normalisation(model: AutoencoderTiny, norm: nn.BatchNorm2d) -> None:
    last = model.encoder.layers[-1]
    assert isinstance(last, nn.Conv2d) and norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    with torch.no_grad():
        last.weight.mul_(scale[:, None, None, None])
        if last.bias is None:
            last.bias = nn.Parameter(torch.zeros(LATENT_CHANNELS))
        last.bias.sub_(norm.running_mean).mul_(scale)


@torch.no_grad()
def encode_all(model: AutoencoderTiny, images: npt.NDArray[np.uint8], batch_size: int = 128) -> Tensor:
    """(N, 4, 16, 16) latents."""
    return torch.cat([model.encode(to_tensor(images[k : k + batch_size])).latents for k in range(0, len(images), batch_size)])
