"""What one rank of the learner holds: weights, gradients, optimiser states, buffers and activations, by ZeRO stage and kind of fine-tuning.

Weights are counted on the model itself and activations by its own forward and backward pass, both on the meta device. The share of
each ZeRO stage is that of the ZeRO paper (Rajbhandari et al., 2020, section 5), with DeepSpeed's float32 copies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from caig_rl.config.schema import Config, LearnerConfig
from caig_rl.models.answer_batch import AnswerBatch
from caig_rl.models.logprobs import batch_log_probs
from caig_rl.models.policy import attach_lora
from caig_rl.objectives.registry import OBJECTIVES, has_negatives
from caig_rl.sizing.hollow import fused_attention, hollow_language_model
from caig_rl.sizing.memory import Part, RoleMemory, in_count, in_gib, runtime_part
from caig_rl.sizing.peak import MemoryCount, tensor_bytes

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BUCKET_ELEMENTS = 500_000_000
"""DeepSpeed's default `reduce_bucket_size`: ZeRO 1 to 3 set this many elements aside for gradients on their way."""
GATHERED_ELEMENTS = 1_000_000_000
"""DeepSpeed's default `stage3_max_live_parameters`: weights that ZeRO 3 may hold whole at a time."""


def learner_memory(config: Config, model_config: PreTrainedConfig, model_name: str) -> RoleMemory:
    """One rank. Sequences are taken to be as long as `policy.max_model_len`, the longest that the engine hands over."""
    learner = config.learner
    dtype = DTYPES[learner.dtype]
    model: nn.Module = hollow_language_model(model_config, dtype)
    frozen_copy = 0 if learner.finetune == "lora" else tensor_bytes(model.parameters())
    if learner.finetune == "lora":
        with torch.device("meta"):
            model = attach_lora(model, learner.lora_rank, learner.lora_alpha).to(dtype)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weights = tensor_bytes(model.parameters())
    parts = [*_states(learner, weights, trained, frozen_copy, dtype), _activations(config, model, dtype, trained)]
    if learner.pc_balance and has_negatives(config):
        parts.append(Part("balance", trained * 4, f"a whole gradient of {in_count(trained)} weights in float32, once a round"))
    on_gpu = learner.num_gpus > 0
    parts.append(runtime_part(on_gpu, "CUDA context, NCCL and fragmentation"))
    return RoleMemory("learner", model_name, tuple(parts), on_gpu=on_gpu)


def _states(learner: LearnerConfig, weights: int, trained: int, frozen_copy: int, dtype: torch.dtype) -> list[Part]:
    ranks, stage, size = learner.world_size, learner.zero_stage, dtype.itemsize
    whole = "on every rank" if stage < 3 or ranks == 1 else f"over {ranks} ranks"
    sharded = ranks if stage == 3 else 1
    parts = [Part("parameters", weights // sharded, f"{in_gib(weights)} {whole}")]
    if frozen_copy:
        copies, words = (2, "two frozen copies") if learner.reference_every else (1, "a frozen copy")
        parts.append(Part("reference", copies * frozen_copy // sharded, f"{words}, {in_gib(copies * frozen_copy)} {whole}"))
    gradient_ranks = ranks if stage >= 2 else 1
    parts.append(Part("gradients", trained * size // gradient_ranks, f"{in_count(trained)} trained x {size} bytes / {gradient_ranks}"))
    each, words = _optimiser_bytes(learner)
    optimiser_ranks = ranks if stage >= 1 else 1
    parts.append(
        Part("optimiser", trained * each // optimiser_ranks, f"{in_count(trained)} trained x {each} bytes ({words}) / {optimiser_ranks}")
    )
    if stage:
        parts.append(_buckets(learner, trained, size))
    if stage == 3 and ranks > 1:
        gathered = min(GATHERED_ELEMENTS * size, weights)
        parts.append(Part("gathered", gathered, "weights that ZeRO 3 holds whole at a time, at most 1e9"))
    return parts


def bucket_bytes(learner: LearnerConfig) -> int:
    """What DeepSpeed sets aside for gradients on their way, whatever the model's size."""
    return BUCKET_ELEMENTS * DTYPES[learner.dtype].itemsize if learner.zero_stage else 0


def _buckets(learner: LearnerConfig, trained: int, size: int) -> Part:
    if learner.num_gpus > 0:
        return Part("buckets", bucket_bytes(learner), f"DeepSpeed's gradient bucket, 5e8 x {size} bytes")
    # The machine gives a process pages once they are written to, and no more gradients pass than there are.
    written = min(bucket_bytes(learner), trained * size)
    return Part("buckets", written, f"what {in_count(trained)} gradients touch of DeepSpeed's bucket of 5e8 x {size} bytes")


def _optimiser_bytes(learner: LearnerConfig) -> tuple[int, str]:
    """Bytes a trained parameter, and what they are. Only plain float32 training needs no copy to keep its steps in."""
    if learner.zero_stage == 0 and learner.dtype == "float32":
        return 8, "both moments"
    return 12, "float32 copy, both moments"


def _activations(config: Config, model: nn.Module, dtype: torch.dtype, trained: int) -> Part:
    sequences, length, answer = _batch_shape(config)
    peak = step_peak_bytes(model, sequences, length, answer)
    gradients = trained * dtype.itemsize
    how = f"{sequences} sequences of {length} tokens a forward pass, all kept for the backward pass (no recomputation)"
    return Part("activations", max(0, peak - gradients), how)


def _batch_shape(config: Config) -> tuple[int, int, int]:
    """Sequences in one forward pass, their length, and the answer's length."""
    answers = {"all": config.rollout.candidates, "best and worst": 2, "best": 1}[OBJECTIVES[config.objective].candidates]
    sequences = answers + has_negatives(config)
    return sequences * config.learner.micro_batch_size, config.policy.max_model_len, config.policy.max_tokens


def step_peak_bytes(model: nn.Module, sequences: int, length: int, answer: int) -> int:
    """The most that forward and backward pass of one micro-batch hold beyond the weights, gradients included. `model` is a meta one."""
    device: dict[str, Any] = {"device": "meta"}
    ids = torch.zeros((sequences, length), dtype=torch.long, **device)
    answers = torch.zeros((sequences, answer), dtype=torch.long, **device)
    # Rows of unequal length are padded, and then every layer reads one mask of all positions against all.
    inputs = {"input_ids": ids, "attention_mask": torch.ones((sequences, 1, length, length), dtype=torch.bool, **device)}
    rows, steps = torch.arange(sequences), torch.arange(length - answer - 1, length - 1).expand(sequences, -1)
    batch = AnswerBatch(inputs, rows, steps, answers, torch.ones((sequences, answer), dtype=torch.bool, **device))
    with fused_attention(), MemoryCount([*model.parameters(), *model.buffers()]) as count:
        batch_log_probs(model, batch).sums.sum().backward()
    model.zero_grad()
    return count.peak_bytes
