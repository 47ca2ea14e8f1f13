"""The loop at one moment: what metrics, the live file and the wait reporter read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from caig_rl.runs.summary import RoundDetail


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool at one moment."""

    desired: int
    ready: int
    busy: int
    replaced: int
    """Since the run began, in all lives of its driver; of the learner: times that its group was re-formed."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Policy pool only: worker -> version number that it holds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The loop at one moment. Totals are since the run began."""

    rounds_done: int
    rounds_planned: int
    version: int
    stage_seconds: Mapping[str, float]
    slots: Mapping[str, int]
    products: Mapping[str, int]
    pools: Mapping[str, PoolState]
    syncs: int
    verified: int
    counts: Mapping[str, int]
    """"pairs", "images", "tokens"."""
    memory_bytes: float
    rounds: Sequence[RoundDetail]
    staleness: Sequence[int]
    """Of every trained pair, in the order in which they were trained."""
    incarnation: int = 0
    """Of the live version: how often learner or driver rolled back to a checkpoint."""
    learner_restarts: int = 0
