"""What the learner publishes, under the names that vLLM's own map gives it. LLaVA and Qwen-VL cannot be imported by vLLM on a CPU, where
torchvision is missing: their maps are read from vLLM's source, and applied by vLLM's own class."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from caig_rl.models.policy import attach_lora, merged_state_dict
from tests.sizing.shrunk import shrunk

pytestmark = pytest.mark.slow
VLLM = {
    "llava-1.6-vicuna-7b": ("llava_next.py", "LlavaNextForConditionalGeneration"),
    "qwen2.5-vl-7b": ("qwen2_5_vl.py", "Qwen2_5_VLForConditionalGeneration"),
    "smolvlm-500m": ("idefics3.py", "Idefics3ForConditionalGeneration"),
}


def vllm_class(name: str) -> ast.ClassDef:
    spec = find_spec("vllm")
    assert spec is not None and spec.origin is not None
    file, wanted = VLLM[name]
    tree = ast.parse((Path(spec.origin).parent / "model_executor" / "models" / file).read_text())
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == wanted]
    return found


def weights_mapper(name: str) -> Any:
    """The class's `hf_to_vllm_mapper`, made anew from its source."""
    from vllm.model_executor.models.utils import WeightsMapper

    for node in vllm_class(name).body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "hf_to_vllm_mapper" for one in node.targets):
            assert isinstance(node.value, ast.Call) and not node.value.args
            return WeightsMapper(**{str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.value.keywords})
    return WeightsMapper()


def children(name: str) -> set[str]:
    """Attributes that the class's `__init__` sets: its modules and parameters are among them."""
    (init,) = [node for node in vllm_class(name).body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return {node.attr for node in ast.walk(init) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}


def published(config: PreTrainedConfig) -> set[str]:
    return set(merged_state_dict(attach_lora(AutoModelForImageTextToText.from_config(config), rank=4, alpha=8)))


@pytest.mark.parametrize("name", VLLM)
def test_every_published_weight_has_a_place_in_vllms_model(name: str):
    mapper, places = weights_mapper(name), children(name)
    mapped = {key: mapper.map_name(key) for key in published(shrunk(name))}
    astray = {key: value for key, value in mapped.items() if value is None or value.partition(".")[0] not in places}
    assert astray == {}


@pytest.mark.parametrize("name", ["llava-1.6-vicuna-7b", "qwen2.5-vl-7b"])
def test_the_language_models_part_has_the_names_of_its_own_checkpoint(name: str):
    """vLLM hands what is below "language_model." to its plain model of that family, which reads a plain checkpoint."""
    config, mapper = shrunk(name), weights_mapper(name)
    mapped = {str(mapper.map_name(key)) for key in published(config)}
    inner = {key.removeprefix("language_model.") for key in mapped if key.startswith("language_model.")}
    assert inner == _plain_names(config)


def _plain_names(config: PreTrainedConfig) -> set[str]:
    text = config.get_text_config()
    if text.model_type == "qwen2_5_vl_text":
        from transformers import Qwen2Config

        kept = {key: getattr(text, key) for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
        text = Qwen2Config(**kept, num_attention_heads=text.num_attention_heads, num_key_value_heads=text.num_key_value_heads)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(text)
    return set(model.state_dict())
