"""Stage 4 of the embedded renderer: guidance and most of the steps are distilled into the weights.

The student paints in few steps without guidance what the teacher paints in many with it: one step of the student is to land where several
guided steps of the teacher do, from where the student itself came to (Meng et al. 2023, On Distillation of Guided Diffusion Models, arXiv
2210.03142, made on the student's own path). Both inpaint as the pipeline does: the product's latents are put back after each step.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from caig_rl.nano.autoencoder import Progress
from caig_rl.nano.diffusion import new_scheduler
from caig_rl.nano.scenes_data import InpaintingTasks
from caig_rl.nano.text import MAX_PROMPT_TOKENS
from caig_rl.world.vocabulary import partial_caption

_EMA_DECAY = 0.99
_LR = 3e-4


@dataclass(frozen=True)
class Painter:
    """A UNet with its ControlNet."""

    unet: UNet2DConditionModel
    controlnet: ControlNetModel

    def velocity(self, noisy: Tensor, time: Tensor, words: Tensor, control: Tensor) -> Tensor:
        """(B, 4, 16, 16) predicted v at `time` (scalar), for words (B, 40, width) and control (B, 3, 64, 64)."""
        down, middle = self.controlnet(noisy, time, encoder_hidden_states=words, controlnet_cond=control, return_dict=False)
        predicted: Tensor = self.unet(
            noisy, time, encoder_hidden_states=words, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        return predicted

    def guided_velocity(self, noisy: Tensor, time: Tensor, both: Tensor, control: Tensor, guidance: float) -> Tensor:
        """The same, guided: `both` (2 B, 40, width) are the empty prompt's words, then the prompts'."""
        empty, named = self.velocity(torch.cat([noisy, noisy]), time, both, torch.cat([control, control])).float().chunk(2)
        return empty + guidance * (named - empty)


@dataclass(frozen=True)
class DistillationPlan:
    """How the teacher paints, and in how many steps the student is to."""

    teacher_steps: int = 6
    guidance: float = 3.0
    student_steps: int = 2
    """Divides `teacher_steps`."""


def distil(
    teacher: Painter,
    text_encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    tasks: InpaintingTasks,
    plan: DistillationPlan,
    steps: int,
    batch_size: int,
    seed: int,
    progress: Progress,
) -> Painter:
    """The student: a copy of the teacher, trained; the exponential moving average of its weights is returned.

    Args:
        teacher: stays as it is.
        text_encoder: of both; stays as it is.
        tokenizer: its.
        tasks: pictures to inpaint.
        plan: steps and guidance.
        steps: optimiser steps.
        batch_size: pictures a step, each painted from noise to the end.
        seed: of pictures, captions and noise.
        progress: told each step.
    """
    torch.manual_seed(seed)
    for frozen in (teacher.unet, teacher.controlnet, text_encoder):
        frozen.requires_grad_(False).eval()
    net = nn.ModuleDict({"unet": copy.deepcopy(teacher.unet), "controlnet": copy.deepcopy(teacher.controlnet)}).requires_grad_(True).train()
    student = Painter(net["unet"], net["controlnet"])
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(_EMA_DECAY))
    optimizer = torch.optim.AdamW(net.parameters(), lr=_LR, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_LR, total_steps=steps, pct_start=0.05, cycle_momentum=False)
    rng, generator = np.random.default_rng((seed, 13)), torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(len(tasks.latents), (batch_size,), generator=generator)
        texts = [partial_caption(tasks.specs[int(row)], rng) for row in rows]
        both = _words(text_encoder, tokenizer, [""] * len(texts) + texts)
        inpainting = _Inpainting(tasks, rows, torch.randn(tasks.latents[rows].shape, generator=generator))
        loss = _train_on_own_path(student, teacher, plan, inpainting, both)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        averaged.update_parameters(net)
        progress("distilled", step + 1, steps, loss)
    ema = averaged.module.eval()
    return Painter(ema["unet"], ema["controlnet"])


@torch.no_grad()
def _words(text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """(B, 40, width) of B texts."""
    encoded = tokenizer(texts, padding="max_length", max_length=MAX_PROMPT_TOKENS, truncation=True, return_tensors="pt")
    words: Tensor = text_encoder(encoded.input_ids).last_hidden_state
    return words


class _Inpainting:
    """A batch that is painted: what is known of it, and the noise it starts from."""

    def __init__(self, tasks: InpaintingTasks, rows: Tensor, noise: Tensor) -> None:
        self.known, self.mask, self.noise, self.control = tasks.latents[rows], tasks.masks[rows], noise, tasks.controls(rows)

    def put_back(self, latents: Tensor, scheduler: DDIMScheduler, next_time: Tensor | None) -> Tensor:
        """The product's latents, at the noise of `next_time` (None: the end), where nothing is painted."""
        known = self.known if next_time is None else scheduler.add_noise(self.known, self.noise, next_time[None])
        return (1.0 - self.mask) * known + self.mask * latents


def _train_on_own_path(student: Painter, teacher: Painter, plan: DistillationPlan, inpainting: _Inpainting, both: Tensor) -> float:
    """Gradients of one batch, from noise to picture; returns the mean loss of its steps."""
    few, many = new_scheduler(), new_scheduler()
    few.set_timesteps(plan.student_steps)
    many.set_timesteps(plan.teacher_steps)
    stride, latents, losses = plan.teacher_steps // plan.student_steps, inpainting.noise, 0.0
    for index, time in enumerate(few.timesteps):
        next_time = few.timesteps[index + 1] if index + 1 < plan.student_steps else None
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            target = _several_steps(teacher, plan.guidance, many, index * stride, stride, inpainting, both, latents)
        with torch.autocast("cpu", torch.bfloat16):
            velocity = student.velocity(latents, time, both.chunk(2)[1], inpainting.control).float()
        landed = few.step(velocity, int(time), latents).prev_sample
        # In units of the velocity: what a step moves by is divided by how far it goes.
        reach = _reach(few, int(time), next_time)
        loss = (((landed - target) / reach).square() * inpainting.mask).mean()
        (loss / plan.student_steps).backward()
        losses += loss.item() / plan.student_steps
        latents = inpainting.put_back(landed.detach(), few, next_time)
    return losses


def _several_steps(
    teacher: Painter, guidance: float, many: DDIMScheduler, first: int, count: int, inpainting: _Inpainting, both: Tensor, latents: Tensor
) -> Tensor:
    """Where `count` guided steps of the teacher lead from `latents`, before the product is put back for the last time."""
    for index in range(first, first + count):
        time = many.timesteps[index]
        if index > first:
            latents = inpainting.put_back(latents, many, time)
        velocity = teacher.guided_velocity(latents, time, both, inpainting.control, guidance)
        latents = many.step(velocity, int(time), latents).prev_sample
    return latents


def _reach(scheduler: DDIMScheduler, time: int, next_time: Tensor | None) -> float:
    """|d x_s / d v| of a DDIM step from t to s: sigma_t alpha_s - alpha_t sigma_s, with alpha^2 the cumulative products."""
    now = float(scheduler.alphas_cumprod[time])
    then = 1.0 if next_time is None else float(scheduler.alphas_cumprod[int(next_time)])
    return abs(((1 - now) * then) ** 0.5 - (now * (1 - then)) ** 0.5)
