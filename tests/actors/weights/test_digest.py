from __future__ import annotations

import torch

from actors.weights.digest import weights_digest
from actors.weights.packing import pack


def test_the_digest_sees_names_shapes_types_and_every_byte() -> None:
    weights = {"a": torch.zeros(4), "b": torch.zeros(2)}
    changed = torch.zeros(4)
    changed[3] = 1e-30
    others = [
        {"a": torch.zeros(4)},
        {"a": torch.zeros(4), "c": torch.zeros(2)},
        {"a": torch.zeros(2, 2), "b": torch.zeros(2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.zeros(2)},
        {"a": changed, "b": torch.zeros(2)},
    ]
    digests = {weights_digest(pack(one)) for one in [weights, *others]}
    assert len(digests) == 6
    assert weights_digest(pack({"b": torch.zeros(2), "a": torch.zeros(4)})) == weights_digest(pack(weights))
