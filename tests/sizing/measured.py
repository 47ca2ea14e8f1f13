"""What a real learner step on this machine's CPU holds: weights, optimiser, and the peak of forward and backward pass."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForImageTextToText, PreTrainedConfig

from caig_rl.config.schema import Config
from caig_rl.learning.engine import TORCH_DTYPES, build_engine, init_group, take_step
from caig_rl.models.answer_batch import AnswerBatch
from caig_rl.models.logprobs import batch_log_probs
from caig_rl.models.policy import attach_lora


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes."""

    parameters: int
    optimiser: int
    """What building the engine and one step left behind beside the weights."""
    step_peak: int
    """The most that one forward and backward pass had allocated at once: activations, gradients, buckets."""
    loss: float


def measure_learner(config: Config, model_config: PreTrainedConfig) -> Measured:
    """One optimiser step of a randomly initialised model, on the longest sequences the config allows."""
    learner = config.learner
    init_group(0, 1)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(model_config, dtype=TORCH_DTYPES[learner.dtype]).eval()
    if learner.finetune == "lora":
        model = attach_lora(model, learner.lora_rank, learner.lora_alpha).to(TORCH_DTYPES[learner.dtype])
    before = live_bytes()
    engine = build_engine(model, [parameter for parameter in model.parameters() if parameter.requires_grad], learner)
    batch = longest_batch(config, model_config)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss = -batch_log_probs(engine, batch).sums.sum()
        engine.set_gradient_accumulation_boundary(True)
        engine.backward(loss)
    take_step(engine, 1e-4)
    engine.zero_grad()
    value = float(loss)
    del loss
    return Measured(parameter_bytes(engine.module), live_bytes() - before, peak_of(profiler), value)


def longest_batch(config: Config, model_config: PreTrainedConfig) -> AnswerBatch:
    """Winner, loser and negative of a micro-batch, the last row one token shorter, so that it is padded as real ones are."""
    rows, length, answer = 3 * config.learner.micro_batch_size, config.policy.max_model_len, config.policy.max_tokens
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, model_config.get_text_config().vocab_size, (rows, length), generator=generator)
    attention = torch.ones_like(ids)
    attention[-1, -1] = 0
    mask = torch.ones((rows, answer), dtype=torch.bool)
    mask[-1, -1] = False
    steps = torch.arange(length - answer - 1, length - 1).expand(rows, -1)
    return AnswerBatch({"input_ids": ids, "attention_mask": attention}, torch.arange(rows), steps, ids[:, -answer:], mask)


def parameter_bytes(module: torch.nn.Module) -> int:
    """Of all weights; under ZeRO 3 of this rank's shards."""
    return sum((getattr(p, "ds_tensor", p)).nbytes for p in module.parameters())


def live_bytes() -> int:
    """Bytes of every tensor that Python knows, each storage once."""
    gc.collect()
    sizes: dict[int, int] = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def peak_of(profiler: profile) -> int:
    """The highest sum of allocations less frees, as the allocator reported them."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak
