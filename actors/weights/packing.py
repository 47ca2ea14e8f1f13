"""Tensors as bytes for the object store, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
from actors.weights.published import PackedTensor


def pack(weights: Mapping[str, torch.Tensor]) -> dict[str, PackedTensor]:
    """CPU tensors as bytes."""
    import torch

    return {
        name: PackedTensor(
            str(tensor.dtype).removeprefix("torch."),
            tuple(tensor.shape),
            tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy(),
        )
        for name, tensor in weights.items()
    }


def unpack(packed: Mapping[str, PackedTensor]) -> dict[str, torch.Tensor]:
    """The tensors again, in memory of their own."""
    import torch

    return {
        name: torch.from_numpy(tensor.data.copy()).view(getattr(torch, tensor.dtype)).reshape(tensor.shape)
        for name, tensor in packed.items()
    }
