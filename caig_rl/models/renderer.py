"""The renderer: a Stable Diffusion ControlNet inpainting pipeline that paints a background around a product."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from PIL import Image

from caig_rl.config.schema import ImagingConfig, RendererConfig
from caig_rl.imaging.composition import compose
from caig_rl.imaging.control import canny_control, inpaint_mask, product_over
from caig_rl.imaging.placement import PlacedProduct, place
from caig_rl.imaging.usability import check_usability
from caig_rl.types import Cutout, ImageArray, RenderReport

logger = logging.getLogger(__name__)

MID_GREY = 128
"""Ground of the init image, behind the product: no colour leaks into the scene from it."""


@dataclass(frozen=True, slots=True)
class RenderedCreative:
    """One creative and how it came to be."""

    background: ImageArray
    """(render size, render size, 3), as the pipeline painted it."""
    creative: ImageArray
    """(imaging.size, imaging.size, 3): the background scaled up, the product's own pixels on it."""
    report: RenderReport
    truncated: bool
    """True where the text encoder read only the head of the prompt."""


@dataclass(frozen=True, slots=True)
class _Request:
    init: Image.Image
    mask: Image.Image
    control: Image.Image
    prompt: str
    noise_seed: int


class Renderer:
    """One pipeline. The creatives of one product start from the same noise, so they differ by their prompt alone."""

    def __init__(self, folder: Path, config: RendererConfig, imaging: ImagingConfig, threads: int) -> None:
        """Load the pipeline in `folder` (diffusers layout, safetensors), on the GPU where there is one."""
        torch.set_num_threads(threads)
        self._config, self._imaging = config, imaging
        pipeline: Any = StableDiffusionControlNetInpaintPipeline.from_pretrained(
            folder, torch_dtype=getattr(torch, config.dtype), use_safetensors=True, safety_checker=None, local_files_only=True
        )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._pipeline: Any = pipeline.to(self._device)
        # Convolutions are a sixth faster so on a CPU, and the faster way on a GPU.
        for part in (pipeline.unet, pipeline.controlnet):
            part.to(memory_format=torch.channels_last)
        self._pipeline.set_progress_bar_config(disable=True)
        self._max_tokens = int(pipeline.tokenizer.model_max_length)

    def render(
        self, cutouts: Sequence[Cutout], prompts: Sequence[Sequence[str]], noise_seeds: Sequence[int]
    ) -> list[list[RenderedCreative]]:
        """Paint `prompts[i][k]` around `cutouts[i]`, all k from the noise of `noise_seeds[i]`.

        Raises:
            ValueError: the lists differ in length.
        """
        if not len(cutouts) == len(prompts) == len(noise_seeds):
            raise ValueError(
                f"{len(cutouts)} cut-outs, {len(prompts)} lists of prompts and {len(noise_seeds)} noise seeds: one of each a product"
            )
        requests = [
            request
            for cutout, texts, seed in zip(cutouts, prompts, noise_seeds, strict=True)
            for request in self._requests(cutout, texts, seed)
        ]
        backgrounds = iter(self._paint(requests))
        creatives = []
        for cutout, texts in zip(cutouts, prompts, strict=True):
            placed = place(cutout, self._imaging, self._imaging.size)
            creatives.append([self._finish(next(backgrounds), placed, text) for text in texts])
        return creatives

    def is_truncated(self, prompt: str) -> bool:
        """True where the prompt has more tokens than the text encoder reads."""
        return len(self._pipeline.tokenizer(prompt, truncation=False)["input_ids"]) > self._max_tokens

    def _requests(self, cutout: Cutout, prompts: Sequence[str], noise_seed: int) -> list[_Request]:
        placed = place(cutout, self._imaging, self._config.size)
        init = Image.fromarray(product_over(placed, MID_GREY))
        mask, control = Image.fromarray(inpaint_mask(placed, self._imaging)), Image.fromarray(canny_control(placed, self._imaging))
        return [_Request(init, mask, control, prompt, noise_seed) for prompt in prompts]

    def _paint(self, requests: Sequence[_Request]) -> list[ImageArray]:
        size = self._config.batch_size
        return [image for start in range(0, len(requests), size) for image in self._paint_batch(requests[start : start + size])]

    @torch.inference_mode()
    def _paint_batch(self, requests: Sequence[_Request]) -> list[ImageArray]:
        config, pipeline = self._config, self._pipeline
        # One generator an image, made on the CPU: neither the batch nor the device changes an image's noise.
        generators = [torch.Generator("cpu").manual_seed(request.noise_seed) for request in requests]
        side = config.size // pipeline.vae_scale_factor
        shape = (1, pipeline.vae.config.latent_channels, side, side)
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])
        painted = pipeline(
            prompt=[request.prompt for request in requests],
            negative_prompt=[config.negative_prompt] * len(requests) if config.negative_prompt else None,
            image=[request.init for request in requests],
            mask_image=[request.mask for request in requests],
            control_image=[request.control for request in requests],
            height=config.size,
            width=config.size,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance_scale,
            controlnet_conditioning_scale=config.control_scale,
            latents=noise.to(self._device, pipeline.unet.dtype),
            generator=generators,
            output_type="np",
        ).images
        return [np.rint(np.nan_to_num(image) * 255.0).astype(np.uint8) for image in painted]

    def _finish(self, background: ImageArray, placed: PlacedProduct, prompt: str) -> RenderedCreative:
        creative = compose(background, placed)
        truncated = self.is_truncated(prompt)
        if truncated:
            logger.warning(
                "the text encoder reads %d tokens; this prompt is longer and its end has no effect: %r", self._max_tokens, prompt
            )
        return RenderedCreative(background, creative, check_usability(creative, placed, self._imaging), truncated)
