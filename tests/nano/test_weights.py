from pathlib import Path

import pytest
from diffusers import StableDiffusionControlNetInpaintPipeline

import caig_rl
from caig_rl.models.folders import resolve_model_folder

PACKAGE = Path(caig_rl.__file__).parent
FOLDERS = [PACKAGE / "nano" / "weights", PACKAGE / "world" / "weights"]


def test_all_embedded_weights_together_stay_under_40_megabytes():
    files = [file for folder in FOLDERS for file in folder.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 40_000_000


def test_embedded_weights_are_safetensors_only():
    names = {file.suffix for folder in FOLDERS for file in folder.rglob("*") if file.is_file()}
    assert ".safetensors" in names
    assert names <= {".safetensors", ".json", ".jinja", ".txt"}


def test_diffusers_loads_the_renderer_unchanged_and_it_has_at_most_8_million_parameters():
    pipeline = StableDiffusionControlNetInpaintPipeline.from_pretrained(resolve_model_folder("nano", "renderer"), safety_checker=None)
    parts = (pipeline.unet, pipeline.controlnet, pipeline.vae, pipeline.text_encoder)
    assert sum(p.numel() for part in parts for p in part.parameters()) <= 8_000_000


@pytest.mark.parametrize("kind", ["policy", "renderer", "reward", "backbone"])
def test_every_embedded_model_is_there(kind):
    assert resolve_model_folder("nano", kind).is_dir()
