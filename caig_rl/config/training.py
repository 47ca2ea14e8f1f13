"""What the training jobs apart from the online loop share: `caig-rl pretrain` and `caig-rl reward train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from caig_rl.config.section import Section, Share


class TrainJobConfig(Section):
    """A DeepSpeed group that trains for some epochs and stops early."""

    workers: int = Field(1, ge=1)
    """Ranks of the DeepSpeed group."""
    num_cpus: float = Field(0.5, gt=0.0)
    """CPUs that Ray reserves for each rank; Ray Data needs some beside them."""
    num_gpus: float = Field(0.0, ge=0.0)
    threads: int = Field(1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    finetune: Literal["full", "lora"] = "full"
    """"lora": an adapter on the language model's linear layers (and what is new, such as heads); it is merged into what is exported."""
    lora_rank: int = Field(32, ge=1)
    lora_alpha: int = Field(64, ge=1)
    epochs: int = Field(8, ge=1)
    patience: int = Field(3, ge=1)
    """Epochs without a lower validation loss, after which training stops."""
    batch_size: int = Field(16, ge=1)
    """Products (tests of a click log), or examples in pre-training, a step, over all ranks."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Of these, how many go through the model at a time on each rank; fewer take less memory. Empty: the rank's whole share."""
    lr: float = Field(1e-3, gt=0.0)
    """Highest learning rate; half a cosine leads it down to a tenth."""
    warmup_share: Share = 0.0
    """Share of all steps in which the learning rate rises to `lr`."""
    weight_decay: float = Field(0.01, ge=0.0)
    max_failures: int = Field(3, ge=0)
    """Times that the group is started again from its last checkpoint after a rank died."""
