"""The shipped dimensions are the published ones: the parameter counts agree."""

import pytest
import torch

from caig_rl.errors import UserError
from caig_rl.sizing.architectures import LANGUAGE_MODELS, language_model_config
from caig_rl.sizing.hollow import hollow_language_model, hollow_renderer
from caig_rl.sizing.workers import kv_bytes_per_token


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# LLaVA as converted for transformers: 64 rows of padding in the vocabulary, twice, and the newline vector, over the original 7,062,902,784.
@pytest.mark.parametrize(
    ("name", "published"), [("llava-1.6-vicuna-7b", 7_063_431_168), ("qwen2.5-vl-7b", 8_292_166_656), ("smolvlm-500m", 507_482_304)]
)
def test_a_language_model_has_the_published_number_of_parameters(name: str, published: int):
    assert count(hollow_language_model(LANGUAGE_MODELS[name](), torch.bfloat16)) == published


def test_stable_diffusion_has_the_published_number_of_parameters():
    networks = hollow_renderer(None, "sd1.5-controlnet", torch.float16)
    assert networks is not None
    assert {name: count(network) for name, network in networks.items()} == {
        "unet": 859_520_964,
        "controlnet": 361_279_120,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
    }


def test_a_token_of_vicuna_takes_half_a_mebibyte_of_cache_and_grouped_heads_take_less():
    bytes_of = {name: kv_bytes_per_token(make(), torch.bfloat16) for name, make in LANGUAGE_MODELS.items()}
    assert bytes_of["llava-1.6-vicuna-7b"] == 2 * 32 * 4096 * 2
    assert bytes_of["qwen2.5-vl-7b"] == 2 * 28 * 4 * 128 * 2


def test_an_unknown_architecture_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="smolvlm-500m"):
        language_model_config(None, "gpt-9")
