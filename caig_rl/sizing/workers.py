"""What one worker of the rollout pools holds: vLLM with its KV cache, the diffusion pipeline, the reward model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from caig_rl.config.schema import Config
from caig_rl.models.policy import base_model
from caig_rl.sizing.hollow import fused_attention, hollow_language_model
from caig_rl.sizing.learner import DTYPES
from caig_rl.sizing.memory import GIB, Part, RoleMemory, in_count, in_gib, runtime_part
from caig_rl.sizing.peak import MemoryCount, tensor_bytes

CUDA_GRAPH_BYTES = GIB
"""An allowance: vLLM captures its decode step for many batch sizes."""
PREFILL_TOKENS = 8192
"""vLLM's default `max_num_batched_tokens`: the longest forward pass it makes room for."""
DECODE_ROWS = 256
"""vLLM's default `max_num_seqs`: rows of logits it makes room for."""


def kv_bytes_per_token(model_config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers."""
    text: Any = model_config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * head * dtype.itemsize)


def policy_memory(config: Config, model_config: PreTrainedConfig, model_name: str) -> RoleMemory:
    """A vLLM engine: it takes `policy.gpu_memory_utilization` of its GPU, of which weights and one sequence's cache are the least.

    Without a GPU its cache has `policy.kv_cache_gib`.
    """
    policy = config.policy
    dtype = DTYPES[policy.dtype]
    model = hollow_language_model(model_config, dtype)
    text: Any = model_config.get_text_config()
    tokens, rows = max(PREFILL_TOKENS, policy.max_model_len), DECODE_ROWS
    forward = tokens * (2 * text.intermediate_size + 4 * text.hidden_size) * dtype.itemsize + 2 * rows * text.vocab_size * 4
    each = kv_bytes_per_token(model_config, dtype)
    weights = tensor_bytes(model.parameters())
    model_parts = (
        Part("parameters", weights, f"{in_gib(weights)}, {policy.dtype}"),
        Part("activations", int(forward), f"a forward pass of {tokens} tokens, and {rows} rows of logits over {text.vocab_size} tokens"),
    )
    if not config.pools.policy.num_gpus:
        cache = policy.kv_cache_gib * GIB
        kept = Part("kv cache", cache, f"policy.kv_cache_gib: {cache // each} tokens x {each} bytes")
        return RoleMemory("policy", model_name, (*model_parts, kept, runtime_part(False)), on_gpu=False)
    parts = (
        *model_parts,
        Part("kv cache", each * policy.max_model_len, f"at least one sequence: {policy.max_model_len} tokens x {each} bytes"),
        Part("cuda graphs", CUDA_GRAPH_BYTES, "allowance"),
        runtime_part(True),
    )
    return RoleMemory("policy", model_name, parts, policy.gpu_memory_utilization)


def kv_cache_tokens(memory: RoleMemory, model_config: PreTrainedConfig, dtype: torch.dtype, gpu_bytes: int) -> int:
    """Tokens that vLLM can cache at a time in what it takes of a GPU."""
    room = memory.taken_bytes(gpu_bytes) - memory.needed_bytes + memory.part("kv cache")
    return max(0, room // kv_bytes_per_token(model_config, dtype))


def scorer_memory(config: Config, model_config: PreTrainedConfig, model_name: str, guard: PreTrainedConfig | None = None) -> RoleMemory:
    """The reward model: its backbone without the vocabulary's head, and one forward pass of `reward.batch_size` creatives.

    Of a `guard` beside it the weights alone count: its passes take turns with the reward model's.
    """
    dtype, on_gpu = DTYPES[config.reward.dtype], config.pools.scorer.num_gpus > 0
    backbone: nn.Module = base_model(hollow_language_model(model_config, dtype)).model
    size, length = config.reward.batch_size, config.policy.max_model_len
    weights = tensor_bytes(backbone.parameters())
    ids = torch.zeros((size, length), dtype=torch.long, device="meta")
    mask = torch.ones((size, 1, length, length), dtype=torch.bool, device="meta")
    with torch.no_grad(), fused_attention(), MemoryCount([*backbone.parameters(), *backbone.buffers()]) as count:
        backbone(input_ids=ids, attention_mask=mask, use_cache=False)
    parts = (
        Part("parameters", weights, f"{in_gib(weights)}, {config.reward.dtype}"),
        Part("activations", count.peak_bytes, f"one forward pass of {size} creatives of {length} tokens (reward.batch_size)"),
        *_guard_part(guard, config.guard.reward, dtype),
        runtime_part(on_gpu),
    )
    return RoleMemory("scorer", model_name, parts, on_gpu=on_gpu)


def _guard_part(model_config: PreTrainedConfig | None, name: str | None, dtype: torch.dtype) -> tuple[Part, ...]:
    if model_config is None:
        return ()
    backbone: nn.Module = base_model(hollow_language_model(model_config, dtype)).model
    return (Part("guard", tensor_bytes(backbone.parameters()), f"parameters of {name}"),)


def renderer_memory(config: Config, networks: dict[str, nn.Module], model_name: str) -> RoleMemory:
    """The diffusion pipeline, and the larger of a denoising step and the decoding of a batch."""
    renderer, on_gpu = config.renderer, config.pools.renderer.num_gpus > 0
    weights = {name: tensor_bytes(network.parameters()) for name, network in networks.items()}
    passes = 2 if renderer.guidance_scale > 1.0 else 1
    denoise = _denoising_peak(networks, renderer.batch_size * passes, renderer.size)
    decode = _decoding_peak(networks["vae"], renderer.batch_size, renderer.size)
    what = "denoising step" if denoise >= decode else "decoding by the autoencoder"
    listed = ", ".join(f"{name} {in_count(sum(p.numel() for p in network.parameters()))}" for name, network in networks.items())
    parts = (
        Part("parameters", sum(weights.values()), f"{listed}; {renderer.dtype}"),
        Part("activations", max(denoise, decode), f"{what} of {renderer.batch_size} pictures of {renderer.size} px (renderer.batch_size)"),
        runtime_part(on_gpu),
    )
    return RoleMemory("renderer", model_name, parts, on_gpu=on_gpu)


def _latent_side(vae: Any, size: int) -> tuple[int, int]:
    """Channels and side of the latents of a picture of `size` px."""
    # Both kinds of autoencoder halve the picture at every block but one.
    blocks = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return int(vae.config["latent_channels"]), size // 2 ** (len(blocks) - 1)


@torch.no_grad()
def _denoising_peak(networks: dict[str, Any], rows: int, size: int) -> int:
    unet = networks["unet"]
    dtype = next(unet.parameters()).dtype
    _, side = _latent_side(networks["vae"], size)
    options: dict[str, Any] = {"device": "meta", "dtype": dtype}
    latents = torch.empty((rows, unet.config["in_channels"], side, side), **options)
    words = torch.empty((rows, 77, unet.config["cross_attention_dim"]), **options)
    step = torch.zeros((), dtype=torch.long, device="meta")
    known = [tensor for network in networks.values() for tensor in (*network.parameters(), *network.buffers())]
    with fused_attention(), MemoryCount(known) as count:
        extra: dict[str, Any] = {}
        if "controlnet" in networks:
            picture = torch.empty((rows, 3, size, size), **options)
            control = networks["controlnet"]
            down, middle = control(latents[:, : control.config["in_channels"]], step, words, picture, return_dict=False)
            extra = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        unet(latents, step, words, **extra)
    return count.peak_bytes


@torch.no_grad()
def _decoding_peak(vae: Any, rows: int, size: int) -> int:
    channels, side = _latent_side(vae, size)
    latents = torch.empty((rows, channels, side, side), device="meta", dtype=next(vae.parameters()).dtype)
    with fused_attention(), MemoryCount([*vae.parameters(), *vae.buffers()]) as count:
        vae.decode(latents)
    return count.peak_bytes
