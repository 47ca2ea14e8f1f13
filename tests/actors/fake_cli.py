"""`python -m tests.actors.fake_cli SIGNAL STAGE COUNT train ...`: `caig-rl`, its own in all but its workers, which have no models.

It sends itself SIGNAL (0: none) when a shard passes STAGE for the COUNT-th time: a moment in the middle of a round, the same every time.
"""

from __future__ import annotations

import os
import sys

import actors.launch.train
from actors.rollout.shard import Shard
from actors.telemetry.terminal_progress import TerminalProgress
from caig_rl.cli import app
from tests.actors.fake_fleet import FakeRenderer, use_fakes

PAINTING_S = 0.3
"""Long enough that a round's shards are on their way while the checkpoint before it is written."""


class Signalled(TerminalProgress):
    """The person's view, which sees the moment come."""

    number, stage, left = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def advanced(self, stage: str, count: int) -> None:
        super().advanced(stage, count)
        self.left -= stage == self.stage
        if self.number and stage == self.stage and self.left == 0:
            os.kill(os.getpid(), self.number)


class SlowRenderer(FakeRenderer):
    """Takes its time."""

    def seconds_for(self, shard: Shard) -> float:
        return PAINTING_S


if __name__ == "__main__":
    use_fakes(renderer=SlowRenderer)
    actors.launch.train.TerminalProgress = Signalled  # type: ignore[misc]
    del sys.argv[1:4]
    app()
