"""The most memory that torch code holds at once, counted tensor by tensor. Meant for meta tensors, which have sizes and no bytes."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryCount(TorchDispatchMode):
    """Inside, every storage that an operation makes is counted while it lives. Storages made before are not counted."""

    def __init__(self, known: Sequence[torch.Tensor] = ()) -> None:
        """`known`: tensors that are not to be counted though operations return them (weights)."""
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._live: dict[int, weakref.ref[Any]] = {}
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._live or key in self._known:
            return

        def freed(_: Any) -> None:
            if self._live.pop(key, None) is not None:
                self.live_bytes -= size

        self._live[key] = weakref.ref(storage, freed)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def tensor_bytes(tensors: Any) -> int:
    """Bytes of all tensors, each storage once."""
    sizes = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(sizes.values())
