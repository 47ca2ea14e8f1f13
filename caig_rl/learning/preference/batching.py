"""Who trains on which pairs: every rank takes the same number of forward passes, and the mean gradient is the same at any world size."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward pass of one rank."""

    rows: tuple[int, ...]
    """Indices into the round's pairs, at least one."""
    weight: float
    """What each row's loss is multiplied by before the sum: world_size / rows of the step, because the group averages gradients over its
    ranks.
    0 where a rank only keeps step with the others."""


def plan_steps(num_rows: int, batch_size: int, micro_batch_size: int, rank: int, world_size: int) -> list[list[MicroBatch]]:
    """The optimiser steps of one pass over `num_rows` pairs, as micro-batches of `rank`.

    There are ceil(num_rows / batch_size) steps; the last may be short. A step's rows are dealt out in turn (row i of the step to rank
    i % world_size), and every rank takes as many micro-batches as the fullest rank needs, so that collectives meet.

    Raises:
        ValueError: no rows.
    """
    if num_rows < 1:
        raise ValueError(f"a round needs at least one pair, got {num_rows}")
    steps = []
    for start in range(0, num_rows, batch_size):
        rows = range(start, min(start + batch_size, num_rows))
        own = rows[rank::world_size]
        num_micro = math.ceil(math.ceil(len(rows) / world_size) / micro_batch_size)
        step = []
        for index in range(num_micro):
            part = tuple(own[index * micro_batch_size : (index + 1) * micro_batch_size])
            step.append(MicroBatch(part, world_size / len(rows)) if part else MicroBatch((start,), 0.0))
        steps.append(step)
    return steps
