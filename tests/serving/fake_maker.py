"""A maker without models: prompts and scores are told to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from caig_rl.serving.creatives.maker_interface import Made, Order
from caig_rl.serving.creatives.store import encode_png
from caig_rl.serving.problems import Problem
from tests.serving.made_creatives import cutout

PNG = encode_png(cutout().rgba)


class FakeMaker:
    """Answers candidate k with `prompts[k]` and score k / 10; records what was ordered."""

    models = "fake"

    def __init__(self, prompts: Sequence[str] = ("a table", "a beach", "a wall", "a garden")) -> None:
        self.prompts = list(prompts)
        self.left_out: dict[int, str] = {}
        self.orders: list[Order] = []
        self.hold: asyncio.Event | None = None
        self.problem: Problem | None = None
        self.fails_after = 0
        """Candidates that are made before `problem` is raised."""

    async def make(self, order: Order) -> AsyncIterator[Made]:
        self.orders.append(order)
        if self.hold is not None:
            await self.hold.wait()
        for k in range(order.candidates):
            if self.problem is not None and k == self.fails_after:
                raise self.problem
            reason = self.left_out.get(k, "")
            score = float("nan") if reason else k / 10
            yield Made(k, "write", self.prompts[k % len(self.prompts)], b"" if reason else PNG, score, 0.01 + k / 1000, reason)
