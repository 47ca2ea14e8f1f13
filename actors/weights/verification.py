"""The proof that a worker runs the published weights: a content hash and a canary's log-probs.

A sync can go wrong in three ways that nothing else shows: it is skipped, a tensor is lost on the way, or old weights are sent again. The
worker takes the hash anew over what it loads; the canary is scored by the worker's engine and by the learner's own model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from caig_rl.types import ImageArray

if TYPE_CHECKING:
    pass
from actors.weights.published import PublishedWeights, SyncReport

CANARY_INSTRUCTION = "Write a background prompt for an ad of a mug (kitchen)."

CANARY_ANSWER = "a wooden table by the window, soft light, plain wall"

CANARY_TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}
"""Largest difference of one token's log-prob between engine and learner, nats. Measured: float32 within 1e-5, bfloat16 0.005 on average."""


class SyncError(RuntimeError):
    """A weight sync that did not verify: worker and learner hold different policies."""


def canary_view(size: int) -> ImageArray:
    """(size, size, 3) ramps, different in each channel, so that a swapped axis or channel shows."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    rows, columns = np.meshgrid(ramp, ramp, indexing="ij")
    return np.stack([rows, columns, 255 - rows // 2 - columns // 2], axis=-1)


def verify_publication(new: PublishedWeights, previous: PublishedWeights | None, *, learned: bool) -> None:
    """The learner took steps at a positive learning rate (`learned`), so what it publishes must be new.

    Raises:
        SyncError: it published the previous version's weights again.
    """
    if previous is None:
        return
    if new.version <= previous.version:
        raise SyncError(f"version {new.version} was published after {previous.version}")
    if learned and new.sha256 == previous.sha256:
        raise SyncError(f"version {new.version} holds the weights of version {previous.version} again: the export is stale")


def verify_sync(report: SyncReport, published: PublishedWeights, dtype: str) -> None:
    """Check a worker's report against what was published.

    Raises:
        SyncError: another version or hash, a canary further off the learner's than `dtype` explains, or new weights that left it unchanged.
    """
    if report.version != published.version:
        raise SyncError(f"the worker holds version {report.version}, not {published.version}")
    if report.sha256 != published.sha256:
        raise SyncError(
            f"version {published.version}: the worker loaded other bytes (hash {report.sha256[:12]}, published {published.sha256[:12]})"
        )
    gap = largest_gap(report.after, published.canary_log_probs)
    if not gap <= CANARY_TOLERANCE[dtype]:
        raise SyncError(
            f"version {published.version}: the canary's log-prob is {gap:.2g} nats off the learner's (at most {CANARY_TOLERANCE[dtype]})"
        )
    if report.before_sha256 and report.before_sha256 != published.sha256 and report.after == report.before:
        raise SyncError(f"version {published.version}: the canary's log-probs did not change, so the engine still runs the old weights")


def largest_gap(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest absolute difference of two equally long lists; NaN where either holds one."""
    return float(np.max(np.abs(np.subtract(a, b))))
