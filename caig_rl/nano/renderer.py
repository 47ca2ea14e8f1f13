"""The embedded renderer: its three stages put together as a StableDiffusionControlNetInpaintPipeline, and how well words steer it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from caig_rl.nano.diffusion import new_scheduler
from caig_rl.world.eyes import Eyes, see
from caig_rl.world.vocabulary import ATTRIBUTES, TEMPLATES, SceneSpec, caption


def assemble_pipeline(
    vae: AutoencoderTiny, text: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, unet: UNet2DConditionModel, controlnet: ControlNetModel
) -> StableDiffusionControlNetInpaintPipeline:
    """The pipeline that `from_pretrained` will load unchanged."""
    return StableDiffusionControlNetInpaintPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=controlnet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(pipeline: StableDiffusionControlNetInpaintPipeline, folder: Path) -> None:
    """Write the pipeline in half precision: at this size it halves the package and costs less than the sampler's own noise."""
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)


def steering(backgrounds: list[npt.NDArray[np.uint8]], specs: list[SceneSpec], eyes: Eyes) -> dict[str, float]:
    """Share of backgrounds, (64, 64, 3), in which each named attribute is recognised, and their mean under "macro".

    Macro is the mean over surface, wall, prop and light, the attributes that the promise names; palette is reported beside.
    """
    seen = see(eyes, backgrounds)
    shares = {name: float(np.mean(seen[name].argmax(1) == [getattr(spec, name) for spec in specs])) for name in ATTRIBUTES}
    return {**shares, "macro": float(np.mean([shares[name] for name in ("surface", "wall", "prop", "light")]))}


def steering_prompts(specs: list[SceneSpec]) -> list[str]:
    """A prompt for each scene, in every template in turn."""
    return [caption(spec, index % len(TEMPLATES)) for index, spec in enumerate(specs)]
