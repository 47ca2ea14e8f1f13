"""Stages 2 and 3 of the embedded renderer: a text-conditioned UNet, then a ControlNet on the frozen UNet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.scenes_data import ScenePictures
from caig_rl.nano.text import MAX_PROMPT_TOKENS, TEXT_WIDTH
from caig_rl.world.vocabulary import partial_caption

_UNCONDITIONAL_SHARE = 0.1
_EMA_DECAY = 0.998


def new_scheduler() -> DDIMScheduler:
    """Zero terminal SNR with trailing timesteps: without both, colours drift to a common mean."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 4.8 M parameters on 16 x 16 x 4 latents."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 112),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet that starts as a copy of the UNet's encoder; the control is 64 px, four times the latents."""
    return ControlNetModel.from_unet(unet, conditioning_channels=3, conditioning_embedding_out_channels=(16, 32, 64))


@dataclass
class DiffusionData:
    """What both stages train on. Captions are drawn anew at each step."""

    latents: Tensor
    """(N, 4, 16, 16)."""
    pictures: ScenePictures
    tokenizer: PreTrainedTokenizerFast

    def prompts(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """(B, 40) token ids; a tenth of them are the empty prompt, for classifier-free guidance."""
        texts = ["" if rng.random() < _UNCONDITIONAL_SHARE else partial_caption(self.pictures.specs[int(row)], rng) for row in rows]
        encoded = self.tokenizer(texts, padding="max_length", max_length=MAX_PROMPT_TOKENS, truncation=True, return_tensors="pt")
        return encoded.input_ids

    def controls(self, rows: Tensor) -> Tensor:
        """(B, 3, 64, 64) in 0-1."""
        edges = torch.from_numpy(self.pictures.controls[rows.numpy()]).float() / 255
        return edges[:, None].expand(-1, 3, -1, -1)


def train_unet(
    data: DiffusionData, text_encoder: CLIPTextModel, steps: int, batch_size: int, seed: int, progress: Progress
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Train UNet and text encoder together by v-prediction; returns their exponential moving averages."""
    torch.manual_seed(seed)
    net = nn.ModuleDict({"unet": new_unet(), "text": text_encoder})
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(_EMA_DECAY))

    def predict(noisy: Tensor, times: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
        words = net["text"](ids).last_hidden_state
        return net["unet"](noisy, times, encoder_hidden_states=words).sample

    for _ in _optimise("unet", net.parameters(), predict, data, steps, batch_size, seed, 1.2e-3, progress):
        averaged.update_parameters(net)
    ema = averaged.module
    return ema["unet"].eval(), ema["text"].eval()


def train_controlnet(
    data: DiffusionData, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, steps: int, batch_size: int, seed: int, progress: Progress
) -> ControlNetModel:
    """Train a ControlNet on the pictures that hold a product; UNet and text encoder stay as they are."""
    torch.manual_seed(seed + 1)
    unet.requires_grad_(False)
    text_encoder.requires_grad_(False)
    controlnet = new_controlnet(unet)

    def predict(noisy: Tensor, times: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            words = text_encoder(ids).last_hidden_state
        down, middle = controlnet(noisy, times, encoder_hidden_states=words, controlnet_cond=data.controls(rows), return_dict=False)
        return unet(
            noisy,
            times,
            encoder_hidden_states=words,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample

    for _ in _optimise("controlnet", controlnet.parameters(), predict, data, steps, batch_size, seed + 1, 6e-4, progress):
        pass
    return controlnet.eval()


def _optimise(
    stage: str,
    parameters: Iterable[nn.Parameter],
    predict: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    data: DiffusionData,
    steps: int,
    batch_size: int,
    seed: int,
    lr: float,
    progress: Progress,
) -> Iterator[int]:
    """Yield after each optimiser step."""
    weights = [p for p in parameters if p.requires_grad]
    scheduler, rng, generator = new_scheduler(), np.random.default_rng((seed, 12)), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.05, cycle_momentum=False)
    for step in range(steps):
        rows = torch.randint(len(data.latents), (batch_size,), generator=generator)
        clean = data.latents[rows]
        noise = torch.randn(clean.shape, generator=generator)
        times = torch.randint(1000, (batch_size,), generator=generator)
        noisy, target = scheduler.add_noise(clean, noise, times), scheduler.get_velocity(clean, noise, times)
        loss = (predict(noisy, times, data.prompts(rows, rng), rows) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        progress(stage, step + 1, steps, loss.item())
        yield step
