"""The weights that the policy pool is to hold, and the report that they can be pulled no more. Plain asyncio.

learner publishes ─> `replace` ─> every policy worker pulls ─> verified
                                      │ the object went away with the learner's node
                                      └─> `next_after_loss` ─> `when_lost` ends ─> the learner is re-formed ─> `replace`
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
    """The current publication: a new object each time, also where its weights are those of the one before.

    Workers that cannot pull it wait for the next one.
    """

    def __init__(self) -> None:
        self.published: PublishedWeights | None = None
        """None before the first."""
        self._loss: WeightsLost | None = None
        self._changed = asyncio.Condition()

    @property
    def is_lost(self) -> bool:
        """True while workers wait for another publication than the current one."""
        return self._loss is not None

    async def replace(self, published: PublishedWeights) -> None:
        """`published` is what workers are to hold from now on."""
        async with self._changed:
            self.published, self._loss = published, None
            self._changed.notify_all()

    async def next_after_loss(self, lost: PublishedWeights, detail: str) -> None:
        """A worker found that `lost` cannot be pulled: report it, and wait until another publication takes its place.

        Where one has by now, nothing is reported.
        """
        async with self._changed:
            if self.published is lost:
                self._loss = self._loss or WeightsLost(lost.version, detail)
                self._changed.notify_all()
            await self._changed.wait_for(lambda: self.published is not lost)

    async def when_lost(self) -> WeightsLost:
        """Wait until workers cannot pull the current publication."""
        async with self._changed:
            while (loss := self._loss) is None:
                await self._changed.wait()
            return loss
