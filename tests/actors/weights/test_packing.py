from __future__ import annotations

import torch

from actors.weights.packing import pack, unpack


def test_weights_survive_the_object_stores_form_exactly() -> None:
    weights = {"a": torch.randn(3, 4), "b": torch.randn(5).to(torch.bfloat16), "c": torch.tensor(2.0)}
    again = unpack(pack(weights))
    assert all(torch.equal(again[name], weights[name]) and again[name].dtype == weights[name].dtype for name in weights)
