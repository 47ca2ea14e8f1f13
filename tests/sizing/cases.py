"""What is measured: each production architecture, each ZeRO stage, both kinds of fine-tuning."""

from __future__ import annotations

from caig_rl.config.schema import Config

CASES = [
    ("smolvlm-500m", 0, "float32", "lora"),
    ("llava-1.6-vicuna-7b", 3, "bfloat16", "lora"),
    ("qwen2.5-vl-7b", 2, "bfloat16", "lora"),
    ("smolvlm-500m", 1, "bfloat16", "full"),
]
"""Architecture, ZeRO stage, precision, fine-tuning."""


def case_config(stage: int, dtype: str, finetune: str) -> Config:
    """A learner of one rank on sequences of 192 tokens."""
    learner = {
        "dtype": dtype,
        "micro_batch_size": 4,
        "batch_size": 4,
        "zero_stage": stage,
        "lora_rank": 16,
        "finetune": finetune,
        "threads": 2,
    }
    return Config.model_validate({"objective": "pcpo_paper", "policy": {"max_model_len": 192, "max_tokens": 32}, "learner": learner})
