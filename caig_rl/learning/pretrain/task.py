"""What `caig-rl pretrain` trains on each rank: the policy's backbone, on examples drawn from the rows of its training file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caig_rl.config.pretrain import PretrainConfig
from caig_rl.learning.engine import TORCH_DTYPES
from caig_rl.learning.pretrain.examples import drawn_examples
from caig_rl.learning.pretrain.sft import SftExample, SftTask
from caig_rl.models.policy import attach_lora, load_policy


def pretrain_task(config: PretrainConfig, backbone: Path, trust_remote_code: bool, seed: int) -> SftTask:
    """The task over the checked model folder `backbone`, with an adapter where `config.finetune` says so."""
    # An adapter's random half must be the same on all ranks and at every start.
    torch.manual_seed(seed)
    base, processor = load_policy(backbone, TORCH_DTYPES[config.dtype], trust_remote_code)
    model: nn.Module = attach_lora(base, config.lora_rank, config.lora_alpha) if config.finetune == "lora" else base

    def examples(batch: Any, epoch: int | None) -> Sequence[SftExample]:
        return drawn_examples(batch, epoch, config.shares, seed)

    return SftTask(model, processor, examples)
