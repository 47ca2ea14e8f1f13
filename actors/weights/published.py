"""Published policy weights: what the learner gives out, and what a policy worker says after it loaded them.

Records that every process reads travel through here, so torch is imported only where there are tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from caig_rl.types import ImageArray, PolicyVersion

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Canary:
    """One fixed question with a fixed answer."""

    instruction: str
    view: ImageArray
    """(size, size, 3) synthetic picture."""
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """A tensor as bytes, which the object store hands on without a copy."""

    dtype: str
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One policy version, as the learner gave it out."""

    version: PolicyVersion
    sha256: str
    canary: Canary
    canary_log_probs: tuple[float, ...]
    """The learner's own, at this version."""
    refs: tuple[Any, ...]
    """ObjectRefs of `dict[str, PackedTensor]`, owned by the controller; together they hold every tensor once."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a policy worker says after it loaded weights."""

    version: PolicyVersion
    sha256: str
    """Recomputed over what was loaded."""
    before: tuple[float, ...]
    """The canary under the weights the worker held before."""
    before_sha256: str
    """Of the weights held before; empty where they came from the model folder."""
    after: tuple[float, ...]
    """The canary now."""
    seconds: float
