"""`learner`: the DeepSpeed group that optimises the policy, and how."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field, model_validator

from caig_rl.config.section import Section as _Section
from caig_rl.config.section import Share

NegativeName = Literal["mask", "mismatch", "picture", "hard"]
"""Kinds of the product-centric negative."""
PAPER_NEGATIVES: Mapping[NegativeName, float] = MappingProxyType({"mask": 0.5, "mismatch": 0.5})
"""Of arXiv 2502.06823."""


class LearnerConfig(_Section):
    """The DeepSpeed group that optimises the policy."""

    world_size: int = Field(1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 1
    num_cpus: float = Field(0.4, ge=0.0)
    num_gpus: float = Field(0.0, ge=0.0)
    threads: int = Field(2, ge=1)
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Ray node labels that every rank's node must carry: {"role": "learner"}. Empty: any node."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    finetune: Literal["lora", "full"] = "lora"
    lora_rank: int = Field(32, ge=1)
    lora_alpha: int = Field(64, ge=1)
    lr: float = Field(1e-3, ge=0.0)
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    min_lr_ratio: Share = 0.1
    """Learning rate at the end of the cosine, as a share of `lr`."""
    weight_decay: float = Field(0.0, ge=0.0)
    adam_eps: float = Field(1e-8, gt=0.0)
    """Epsilon of AdamW."""
    grad_clip: float = Field(1.0, gt=0.0)
    batch_size: int = Field(16, ge=1)
    """Products (groups of candidates) per optimiser step, over all ranks."""
    micro_batch_size: int = Field(16, ge=1)
    """Products per forward pass and rank; each brings its candidates."""
    share_prompts: bool = True
    """The answers to one product are run in one row, its instruction and picture once; for model families that it is known to be exact
    for (Idefics3, SmolVLM). False: a row for each."""
    epochs: int = Field(1, ge=1)
    """Passes over a round's groups."""
    replay: float = Field(0.0, ge=0.0)
    """Groups of former rounds that are learned again with each round, as a multiple of the round's own."""
    replay_rounds: int = Field(2, ge=1)
    """How many rounds back they may come from."""
    sharpness: float = Field(14.0, gt=0.0)
    """How sharply rewards weigh candidates, per log-odds of a click: one over the temperature of "pcpo" and "listwise", the scale of the
    labels of "cdpo", of the targets of "rebel" and of the advantages of "policy_gradient"."""
    clip_low: float = Field(0.2, gt=0.0, lt=1.0)
    """"policy_gradient": how far below 1 the probability ratio counts."""
    clip_high: float = Field(0.28, gt=0.0)
    """"policy_gradient": how far above 1 the probability ratio counts."""
    beta: float = Field(0.5, gt=0.0)
    """Temperature of L_DPO."""
    beta_pc: float = Field(0.5, gt=0.0)
    """Temperature of L_PCPO, beta'."""
    pc_weight: float = Field(1.0, ge=0.0)
    """w in L = L_DPO + w * L_PCPO."""
    pc_balance: bool = False
    """True: w is lowered to ||g_objective|| / ||g_pc|| where that is less, the norms of both terms' gradients at each round's first step,
    so that the product-centric term does not take the step. Measuring takes the memory of one more gradient. False: w stays, as in
    the paper."""
    negatives: dict[NegativeName, float] = Field(default_factory=lambda: dict(PAPER_NEGATIVES))
    """Weights of the product-centric negatives of "pcpo_paper"; one that is not named is left out. "mask": most of the picture is black.
    "mismatch": the text is that of a product of another category, or, where the catalog has no other category, of one whose title shares no
    word. "picture": the picture is that of such a product. "hard": text or picture of the most similar title among several such products.
    Where no such product is found, the picture is masked. The default is the paper's."""
    nll_weight: float = Field(0.0, ge=0.0)
    """Weight of -log pi(winner) / tokens beside it, which keeps the winner itself likely (iterative RPO). 0: the paper's loss."""
    fluency_floor: float | None = Field(None, lt=0.0)
    """Log-prob in nats: an answer with a token that the initial policy finds less likely than this is broken language, and is not learned
    from. The embedded policy's own prompts stay above -5, broken ones fall below -7. Large vocabularies need a lower floor, or
    `policy.top_p` below 1. Empty: all are learned from."""
    kl_weight: float = Field(0.0, ge=0.0)
    """Weight of the divergence from the reference, and the least that `kl_bound` leaves of it."""
    kl_bound: float | None = Field(12.0, gt=0.0)
    """KL(policy || reference) in nats an answer beyond which the divergence is weighed, the more the longer. Empty: no bound."""
    reference_every: int | None = Field(None, ge=1)
    """Every so many rounds the reference becomes the policy of that moment; it takes a second frozen copy of the model. The fluency floor
    and the reported KL stay with the initial policy; `kl_weight` and `kl_bound` go with the reference. Empty: the reference is the initial
    policy for good. Only with learner.finetune=full."""
    checkpoint_every: int = Field(1, ge=1)
    """Rounds between checkpoints; with a guard (`guard.reward`) there is one after every round."""
    keep_checkpoints: int = Field(2, ge=1)
    """The newest ones that stay. With a guard that of its best version stays too."""

    @model_validator(mode="after")
    def _some_negative_has_weight(self) -> LearnerConfig:
        if min(self.negatives.values(), default=0.0) < 0.0 or sum(self.negatives.values()) <= 0.0:
            raise ValueError(f"learner.negatives must not be negative, and one of them above 0: {self.negatives}")
        return self

    @model_validator(mode="after")
    def _a_reference_that_moves_is_a_copy(self) -> LearnerConfig:
        if self.reference_every is not None and self.finetune == "lora":
            raise ValueError(
                "learner.reference_every needs learner.finetune=full: with LoRA the reference is the model with its adapter off, and "
                "that cannot move"
            )
        return self

    @model_validator(mode="after")
    def _a_pass_is_no_larger_than_a_step(self) -> LearnerConfig:
        if self.micro_batch_size > self.batch_size:
            raise ValueError(
                f"learner.micro_batch_size ({self.micro_batch_size}) is more than learner.batch_size ({self.batch_size}): "
                "a step has no more pairs for a forward pass; set both"
            )
        return self
