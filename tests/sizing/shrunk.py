"""The production architectures with a few hundred thousand parameters: same classes, same kinds of layers, small numbers."""

from __future__ import annotations

from transformers import PreTrainedConfig

from caig_rl.sizing.architectures import LANGUAGE_MODELS

TEXT = {"vocab_size": 2048, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4}
VISION = {
    "llava-1.6-vicuna-7b": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
    },
    "qwen2.5-vl-7b": {"hidden_size": 64, "intermediate_size": 128, "depth": 2, "num_heads": 2, "out_hidden_size": 128},
    "smolvlm-500m": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64},
}
SHAPES = {"qwen2.5-vl-7b": (4, 2), "llava-1.6-vicuna-7b": (4, 4), "smolvlm-500m": (4, 2)}
"""Attention heads and key-value heads."""


def shrunk(name: str) -> PreTrainedConfig:
    """`LANGUAGE_MODELS[name]` with fewer and narrower layers."""
    config = LANGUAGE_MODELS[name]()
    heads, key_value_heads = SHAPES[name]
    text = config.get_text_config()
    for key, value in {**TEXT, "num_attention_heads": heads, "num_key_value_heads": key_value_heads}.items():
        setattr(text, key, value)
    text.head_dim = TEXT["hidden_size"] // heads
    text.pad_token_id = text.eos_token_id = text.bos_token_id = None
    if name == "qwen2.5-vl-7b":
        text.layer_types = text.layer_types[: TEXT["num_hidden_layers"]]
        text.rope_parameters = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    for key, value in VISION[name].items():
        setattr(config.vision_config, key, value)
    for key in ("image_token_id", "image_token_index", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        if hasattr(config, key):
            setattr(config, key, 5)
    config.pad_token_id = None
    return config
