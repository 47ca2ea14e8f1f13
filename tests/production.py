"""The production architectures, shrunk, as whole model folders: random weights, and processors of the same classes with small pictures.

Without torchvision transformers has no video processor, which Qwen2.5-VL's processor is stored and loaded with; there the processor is
handed over as an object, for pictures alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerAncestralDiscreteScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UNet2DConditionModel,
)
from tokenizers import AddedToken
from transformers import (
    AutoModelForImageTextToText,
    CLIPTextConfig,
    CLIPTextModel,
    Idefics3Processor,
    LlavaNextProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from caig_rl.sizing.architectures import sd15_controlnet
from tests.sizing.shrunk import shrunk
from tests.tiny import CHAT_TEMPLATE, make_tokenizer

QWEN_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SPLIT_TOKENS = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
PICTURE = {"smolvlm-500m": 128, "llava-1.6-vicuna-7b": 56, "qwen2.5-vl-7b": 56}
"""Side of the picture shown to each: SmolVLM cuts it into four tiles and the whole, LLaVA into its own grid, Qwen takes it as it is."""


def shrunk_policy(name: str, seed: int = 0) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Random model and processor of the architecture `name`, less than a million parameters, in float32."""
    config, processor = _CONFIGURE[name](shrunk(name))
    text = config.get_text_config()
    text.vocab_size = len(processor.tokenizer)
    text.max_position_embeddings = 512
    for part in (config, text):
        part.bos_token_id, part.eos_token_id, part.pad_token_id = 1, 2, 3
    # A wide start makes the random model's answers differ from each other.
    text.initializer_range = 0.1
    torch.manual_seed(seed)
    return AutoModelForImageTextToText.from_config(config, dtype=torch.float32).eval(), processor


def write_shrunk_policy(name: str, folder: Path, seed: int = 0) -> Path:
    """`shrunk_policy` as a Hugging Face folder."""
    model, processor = shrunk_policy(name, seed)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_shrunk_renderer(folder: Path) -> Path:
    """Stable Diffusion 1.5 with its ControlNet, a 20th as wide: the blocks of each network are those of the published configuration."""
    torch.manual_seed(0)
    described = sd15_controlnet()
    unet = UNet2DConditionModel(**described["unet"] | {"sample_size": 8, "cross_attention_dim": 32, "block_out_channels": (32, 32, 64, 64)})
    widths = {"block_out_channels": [32, 32, 32, 32], "sample_size": 64, "layers_per_block": 1}
    text = CLIPTextConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = text.max_position_embeddings
    pipeline = StableDiffusionControlNetInpaintPipeline(
        vae=AutoencoderKL(**described["vae"] | widths),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        controlnet=ControlNetModel.from_unet(unet),
        scheduler=EulerAncestralDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


class PictureProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its video processor."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        return None if argument_name == "video_processor" else super().check_argument_for_proper_class(argument_name, argument)


def _smolvlm(config: PreTrainedConfig) -> tuple[PreTrainedConfig, ProcessorMixin]:
    tokenizer = _tokenizer(SPLIT_TOKENS)
    pictures = Idefics3ImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 64}, do_image_splitting=True)
    config.scale_factor = 2
    config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    tokens = (config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor) ** 2
    return config, Idefics3Processor(image_processor=pictures, tokenizer=tokenizer, image_seq_len=tokens, chat_template=CHAT_TEMPLATE)


def _llava(config: PreTrainedConfig) -> tuple[PreTrainedConfig, ProcessorMixin]:
    tokenizer, side = _tokenizer([]), config.vision_config.image_size
    grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=grid
    )
    config.image_grid_pinpoints = grid
    config.image_token_index = config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    processor = LlavaNextProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return config, processor


def _qwen(config: PreTrainedConfig) -> tuple[PreTrainedConfig, ProcessorMixin]:
    tokenizer = _tokenizer(QWEN_TOKENS)
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(QWEN_TOKENS), strict=True))
    config.vision_start_token_id, config.vision_end_token_id = ids["<|vision_start|>"], ids["<|vision_end|>"]
    config.image_token_id, config.video_token_id = ids["<|image_pad|>"], ids["<|video_pad|>"]
    config.vision_config.fullatt_block_indexes = [1]
    pictures = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56})
    template = CHAT_TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    return config, PictureProcessor(image_processor=pictures, tokenizer=tokenizer, chat_template=template)


def _tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special], special_tokens=True)
    return tokenizer


_CONFIGURE = {"smolvlm-500m": _smolvlm, "llava-1.6-vicuna-7b": _llava, "qwen2.5-vl-7b": _qwen}
