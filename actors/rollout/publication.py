"""The weights that the policy pool is to hold, and the event that they can be pulled no more. Plain asyncio.

learner publishes ─> `replace` ─> every policy worker pulls ─> verified
                                      │ the object went away with the learner's node
                                      └─> `next_after_loss` ─> `when_lost` ends ─> the learner is formed anew ─> `replace`
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from actors.weights.published import PublishedWeights
from caig_rl.types import PolicyVersion


@dataclass(frozen=True, slots=True)
class WeightsLost:
    """Published weights went away with their node before every policy worker had pulled them."""

    version: PolicyVersion
    detail: str
    """What Ray said to the worker that asked for them."""

    def __str__(self) -> str:
        return "the live weights went away with their node before every policy worker had pulled them"


class LivePublication:
    """The current publication. Workers that cannot pull it wait for the next one."""

    def __init__(self) -> None:
        self.published: PublishedWeights | None = None
        """None before the first."""
        self._superseded, self._is_lost = asyncio.Event(), asyncio.Event()
        self._loss: WeightsLost | None = None

    @property
    def is_lost(self) -> bool:
        """True while workers wait for another publication than the current one."""
        return self._is_lost.is_set()

    def replace(self, published: PublishedWeights) -> None:
        """`published` is what workers are to hold from now on."""
        self._superseded.set()
        self._superseded = asyncio.Event()
        self.published, self._loss = published, None
        self._is_lost.clear()

    async def next_after_loss(self, lost: PublishedWeights, detail: str) -> None:
        """A worker found that `lost` cannot be pulled: report it, and wait until another publication takes its place."""
        if self.published is not lost:
            return
        self._loss = self._loss or WeightsLost(lost.version, detail)
        self._is_lost.set()
        await self._superseded.wait()

    async def when_lost(self) -> WeightsLost:
        """Wait until workers cannot pull the current publication."""
        await self._is_lost.wait()
        assert self._loss is not None
        return self._loss
