"""The distilled renderer: its training inpaints as the pipeline does, and has nothing to learn from a teacher that paints alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionControlNetInpaintPipeline, UNet2DConditionModel
from PIL import Image

from caig_rl.config.schema import Config, ImagingConfig
from caig_rl.imaging.control import canny_control, inpaint_mask, product_over
from caig_rl.imaging.placement import place
from caig_rl.models.renderer import MID_GREY
from caig_rl.nano.build import NANO_WEIGHTS, BuildPlan, NanoBuilder
from caig_rl.nano.diffusion import new_scheduler
from caig_rl.nano.distillation import DistillationPlan, Painter, _Inpainting, _several_steps, _words, distil
from caig_rl.nano.scenes_data import InpaintingTasks, draw_inpainting
from caig_rl.world.products import WorldProducts

PROMPT = "on oak table, neon city behind, gold confetti"


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionControlNetInpaintPipeline:
    loaded = StableDiffusionControlNetInpaintPipeline.from_pretrained(
        NANO_WEIGHTS / "renderer", torch_dtype=torch.float32, safety_checker=None, local_files_only=True
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_path_that_is_trained_on_is_the_pipelines(pipeline: StableDiffusionControlNetInpaintPipeline, guidance: float):
    placed = place(WorldProducts(0, 1, "eval").cutouts(["w0-1000000"])[0], ImagingConfig(), 64)
    image, edges, mask = product_over(placed, MID_GREY), canny_control(placed, ImagingConfig()), inpaint_mask(placed, ImagingConfig())
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    painted = pipeline(
        prompt=[PROMPT],
        image=[Image.fromarray(image)],
        mask_image=[Image.fromarray(mask)],
        control_image=[Image.fromarray(edges)],
        height=64,
        width=64,
        num_inference_steps=4,
        controlnet_conditioning_scale=1.0,
        guidance_scale=guidance,
        latents=noise,
        output_type="latent",
    ).images
    tasks = InpaintingTasks(
        pipeline.vae.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1).latents.detach(),
        (torch.from_numpy(mask)[None, None, ::4, ::4] >= 128).float(),
        edges[None, ..., 0],
        [],
    )
    inpainting, scheduler = _Inpainting(tasks, torch.tensor([0]), noise), new_scheduler()
    scheduler.set_timesteps(4)
    both = _words(pipeline.text_encoder, pipeline.tokenizer, ["", PROMPT])
    with torch.no_grad():
        latents = _several_steps(Painter(pipeline.unet, pipeline.controlnet), guidance, scheduler, 0, 4, inpainting, both, noise)
    torch.testing.assert_close(inpainting.put_back(latents, scheduler, None), painted, atol=1e-4, rtol=1e-4)


def train(pipeline: StableDiffusionControlNetInpaintPipeline, plan: DistillationPlan) -> list[float]:
    losses: list[float] = []
    teacher = Painter(pipeline.unet, pipeline.controlnet)
    tasks = draw_inpainting(
        6, 8, AutoencoderTiny.from_pretrained(Path(NANO_WEIGHTS / "renderer" / "vae"), torch_dtype=torch.float32), 128, 14
    )
    arguments = (teacher, pipeline.text_encoder, pipeline.tokenizer, tasks, plan)
    distil(*arguments, 3, 2, 0, lambda stage, step, steps, loss: losses.append(loss))
    return losses


def test_a_teacher_that_paints_as_the_student_does_leaves_nothing_to_learn(pipeline: StableDiffusionControlNetInpaintPipeline):
    # The first step's weights are the teacher's own; a batch of twice the size rounds otherwise, in bfloat16.
    assert train(pipeline, DistillationPlan(teacher_steps=2, guidance=1.0, student_steps=2))[0] < 1e-4


def test_a_guided_teacher_of_more_steps_does(pipeline: StableDiffusionControlNetInpaintPipeline):
    assert train(pipeline, DistillationPlan(teacher_steps=4, guidance=3.0, student_steps=2))[0] > 1e-2


def test_the_build_distils_its_own_unet_and_controlnet_and_puts_them_into_the_renderer(
    pipeline: StableDiffusionControlNetInpaintPipeline, tmp_path: Path
):
    for part, folder in (("vae", "vae"), ("unet", "unet/unet"), ("text_encoder", "unet/text_encoder"), ("controlnet", "controlnet")):
        getattr(pipeline, part).save_pretrained(tmp_path / folder)
    pipeline.tokenizer.save_pretrained(tmp_path / "unet" / "tokenizer")
    plan = BuildPlan(distillation_tasks=4, distillation_steps=3)
    NanoBuilder(tmp_path, plan, Config(), lambda *step: None).run(["distilled", "renderer"])
    built = StableDiffusionControlNetInpaintPipeline.from_pretrained(tmp_path / "renderer", safety_checker=None, local_files_only=True)
    student = UNet2DConditionModel.from_pretrained(tmp_path / "distilled" / "unet")
    for name, weight in student.state_dict().items():
        assert torch.equal(built.unet.state_dict()[name].half(), weight.half()), name
    teacher = pipeline.unet.state_dict()
    assert not [name for name, weight in student.state_dict().items() if torch.equal(weight, teacher[name])]
