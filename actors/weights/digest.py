"""The hash of published weights: learner and worker take it apart, and must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from actors.weights.published import PackedTensor


def weights_digest(packed: Mapping[str, PackedTensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(packed):
        tensor = packed[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(tensor.data.tobytes())
    return digest.hexdigest()
