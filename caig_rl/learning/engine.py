"""The DeepSpeed engine that all ranks of the learner share: ZeRO 0 to 3, gloo on CPU and NCCL on GPU."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from torch import nn

from caig_rl.config.schema import LearnerConfig

TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def free_port() -> int:
    """A TCP port that is free on this machine now."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])


def init_group(rank: int, world_size: int, master_addr: str = "127.0.0.1", master_port: int = 0, timeout_s: float = 600.0) -> None:
    """Join the learner's process group; returns when all ranks have. Doing it again in the same process is a no-op.

    Args:
        rank: 0 to world_size - 1.
        world_size: ranks in the group, one process each.
        master_addr: rank 0's address.
        master_port: the same free port for all ranks; 0 picks one, for a group of one, or where torch's group is formed already.
        timeout_s: longest wait of a collective before it fails, in seconds.

    Raises:
        ValueError: no port for a group of more than one.
    """
    # Ray Train forms the group of a training job before its ranks begin.
    is_formed = torch.distributed.is_initialized() and torch.distributed.get_world_size() == world_size
    if master_port == 0 and world_size > 1 and not is_formed:
        raise ValueError(f"a group of {world_size} needs the same master_port on every rank, got 0")
    if torch.distributed.is_initialized():
        assert torch.distributed.get_world_size() == world_size and torch.distributed.get_rank() == rank
    else:
        port = master_port or free_port()
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK="0", LOCAL_SIZE="1", MASTER_ADDR=master_addr, MASTER_PORT=str(port)
        )
    # DeepSpeed would compile this shared-memory op at start-up (a minute, needs g++, and a killed compile leaves a lock that the next
    # start waits
    # on for ever). Without it a CPU group reduces through gloo.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, timeout=timedelta(seconds=timeout_s), verbose=False)


def build_engine(model: nn.Module, parameters: list[nn.Parameter] | list[dict[str, Any]], config: LearnerConfig) -> Any:
    """A `DeepSpeedEngine` over `model` that trains `parameters`, or groups of them, with AdamW. `init_group` comes first; all ranks call.

    A group may bear an `lr_scale`: its learning rate is that many times the others'. The learning rate is given to each step
    (`take_step`), so that it is a function of the step count alone.
    """
    settings = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "gradient_accumulation_steps": 1,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": config.lr,
                "betas": [0.9, 0.999],
                "eps": config.adam_eps,
                "weight_decay": config.weight_decay,
                "torch_adam": True,
            },
        },
        "gradient_clipping": config.grad_clip,
        "zero_optimization": {"stage": config.zero_stage},
        "bf16": {"enabled": config.dtype == "bfloat16"},
        "steps_per_print": 10**9,
    }
    with _keep_buffers(model):
        engine, *_ = deepspeed.initialize(model=model, model_parameters=parameters, config=settings)
    if config.zero_stage == 0 and config.dtype == "bfloat16":
        # DeepSpeed's bf16 optimiser without ZeRO takes a dry step when it is built, which spoils Adam's bias correction: a first step of
        # 0.74 lr.
        engine.optimizer.optimizer.state.clear()
    # Dropout would part the learner's log-probs from vLLM's; gradients do not need training mode.
    engine.module.eval()
    return engine


def build_frozen_engine(model: nn.Module, config: LearnerConfig) -> Any:
    """`model`, already in the learner's dtype, without gradients, for answering only: sharded over the group under ZeRO 3 like the
    policy, else whole on each rank."""
    model.requires_grad_(False)
    if config.zero_stage < 3:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return model.to(device).eval()
    settings = {
        "train_micro_batch_size_per_gpu": config.micro_batch_size,
        "zero_optimization": {"stage": 3},
        "bf16": {"enabled": config.dtype == "bfloat16"},
    }
    with _keep_buffers(model):
        engine, *_ = deepspeed.initialize(model=model, config=settings)
    return engine.module.eval()


@contextmanager
def _keep_buffers(model: nn.Module) -> Iterator[None]:
    """DeepSpeed casts buffers along with weights; rotary frequencies in bf16 would part the learner's log-probs from vLLM's."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    yield
    for name, buffer in model.named_buffers():
        buffer.data = kept[name].to(buffer.device)


@contextmanager
def accumulation(engine: Any, is_last: bool) -> Iterator[None]:
    """Around each forward and backward of a step: gradients are reduced over the group on the step's last micro-batch only."""
    engine.set_gradient_accumulation_boundary(is_last)
    yield


def learning_rate(step: int, total_steps: int, config: LearnerConfig, warmup_steps: int = 0) -> float:
    """Learning rate of optimiser step `step`, counted from 0: constant, or half a cosine from `lr` to `lr * min_lr_ratio` at
    `total_steps`; before it, `warmup_steps` in equal rises up to `lr`."""
    if step < warmup_steps:
        return config.lr * (step + 1) / warmup_steps
    step, total_steps = step - warmup_steps, total_steps - warmup_steps
    if config.lr_schedule == "constant":
        return config.lr
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / max(total_steps, 1), 1.0)))
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * cosine)


def take_step(engine: Any, lr: float) -> float:
    """Apply the gathered gradients at learning rate `lr`; returns their norm over all ranks and weights, before clipping.

    Where the norm is no finite number, on every rank alike, the gradients are dropped and the weights stay as they are.
    """
    for group in engine.optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    if engine.zero_optimization_stage() == 0 and not engine.bfloat16_enabled():
        return _take_plain_step(engine)
    # DeepSpeed's own optimisers skip such a step by themselves, and say so.
    engine.step()
    return float(engine.get_global_grad_norm()) if engine.was_step_applied() else math.inf


def _take_plain_step(engine: Any) -> float:
    """Plain float32 without ZeRO: DeepSpeed keeps no norm and skips no step; every rank holds the whole reduced gradient."""
    norm = float(nn.utils.get_total_norm([parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]))
    if math.isfinite(norm):
        engine.step()
    else:
        engine.zero_grad()
    return norm


def gathered_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A full CPU copy of a weight, also where ZeRO 3 has it sharded; then all ranks call in the same order."""
    if not hasattr(tensor, "ds_id"):
        return tensor.detach().to("cpu", copy=True)
    with deepspeed.zero.GatheredParameters([tensor], enabled=True):
        return tensor.detach().to("cpu", copy=True)


@torch.no_grad()
def set_weight(weight: torch.Tensor, value: torch.Tensor) -> None:
    """Give a weight another value of its shape, exact where the dtype is the same; also where ZeRO 3 has it sharded: then all ranks call in
    the same order, and rank 0's value counts."""
    if not hasattr(weight, "ds_id"):
        weight.copy_(value)
        return
    with deepspeed.zero.GatheredParameters([weight], modifier_rank=0):
        if torch.distributed.get_rank() == 0:
            weight.copy_(value)


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """(n,) elementwise sum of `values` over the group; all ranks call."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    total = values.detach().to(device, torch.float64)
    torch.distributed.all_reduce(total)
    return total.cpu()
