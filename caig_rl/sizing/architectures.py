"""The published dimensions of the models that the shipped configs name, so that a run can be sized before a single weight is fetched.

Each is a transformers or diffusers configuration object, as the model's own `config.json` has it; tests hold the parameter counts to the
published ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    Idefics3Config,
    LlamaConfig,
    LlavaNextConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
)

from caig_rl.errors import UserError


def llava16_vicuna_7b() -> PreTrainedConfig:
    """LLaVA-v1.6-vicuna-7B: CLIP ViT-L/14 at 336 px and Vicuna 7B v1.5 (Llama 2)."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(vocab_size=32064, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    return LlavaNextConfig(vision_config=vision, text_config=text, image_token_index=32000, tie_word_embeddings=False)


def qwen25_vl_7b() -> PreTrainedConfig:
    """Qwen2.5-VL-7B-Instruct: 28 layers with 4 key-value heads, and a windowed vision tower of 32 blocks."""
    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)


def smolvlm_500m() -> PreTrainedConfig:
    """SmolVLM-500M-Instruct: SigLIP base at 512 px and SmolLM2-360M, with a head of its own."""
    text = {
        "model_type": "llama",
        "vocab_size": 49280,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    }
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    }
    return Idefics3Config(text_config=text, vision_config=vision, scale_factor=4, image_token_id=49190, tie_word_embeddings=False)


def sd15_controlnet() -> dict[str, dict[str, Any]]:
    """Stable Diffusion 1.5 with a v1.1 ControlNet: the arguments of the pipeline's four networks, by component."""
    attention = {"cross_attention_dim": 768, "attention_head_dim": 8}
    return {
        "unet": {"sample_size": 64, **attention},
        "controlnet": dict(attention),
        "vae": {
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "block_out_channels": [128, 256, 512, 512],
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": 512,
        },
        "text_encoder": CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768
        ).to_dict(),
    }


LANGUAGE_MODELS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llava-1.6-vicuna-7b": llava16_vicuna_7b,
    "qwen2.5-vl-7b": qwen25_vl_7b,
    "smolvlm-500m": smolvlm_500m,
}
RENDERERS: dict[str, Callable[[], dict[str, dict[str, Any]]]] = {"sd1.5-controlnet": sd15_controlnet}


def language_model_config(folder: Path | None, architecture: str | None) -> PreTrainedConfig | None:
    """The configuration of a model by its folder where there is one, else by the name of its architecture; None where neither is known.

    Raises:
        UserError: an architecture that is not described here.
    """
    if folder is not None and (folder / "config.json").is_file():
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    if architecture is None:
        return None
    if architecture not in LANGUAGE_MODELS:
        raise UserError(f"architecture {architecture!r} is not described here; known are {', '.join(LANGUAGE_MODELS)}")
    return LANGUAGE_MODELS[architecture]()
