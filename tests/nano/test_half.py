"""Embedded weights stored in half precision load as the float32 model that they were, rounded."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModel

from caig_rl.nano.half import store_in_half
from tests.tiny import make_tiny_policy


def test_a_folder_in_half_precision_is_half_as_large_and_loads_as_the_same_model(tmp_path: Path):
    folder = make_tiny_policy(tmp_path)
    (weights,) = folder.glob("*.safetensors")
    before, size = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict(), weights.stat().st_size
    store_in_half(folder)
    after = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    assert weights.stat().st_size < 0.55 * size
    assert set(after) == set(before)
    for name, value in after.items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name].half().to(value.dtype)), name
