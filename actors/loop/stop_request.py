"""How soon a run is to stop. Plain: signals come in through `ask`, the loop looks at `after_round` and waits for `now`.

Ctrl-C once    at the end of the round
Ctrl-C again   now: the round's work so far goes into the checkpoint
SIGTERM        now; a job controller gives half a minute
"""

from __future__ import annotations

import asyncio
import signal


class StopRequest:
    """What was asked for so far. It only ever becomes more urgent."""

    def __init__(self) -> None:
        self.after_round = False
        self._now = asyncio.Event()

    @property
    def now(self) -> bool:
        """True where the run is not to wait for the end of the round."""
        return self._now.is_set()

    def ask(self, number: int = signal.SIGINT) -> str:
        """A signal came. Returns what to tell the person who waits."""
        if number == signal.SIGTERM or self.after_round:
            self.stop_now()
            return "stopping now; go on later with --resume"
        self.after_round = True
        return "stopping at the end of this round, with a checkpoint; Ctrl-C again stops now. Go on later with --resume"

    def stop_now(self) -> None:
        """Without waiting for the end of the round."""
        self.after_round = True
        self._now.set()

    async def wait_for_now(self) -> None:
        """Returns when the run must not wait any longer."""
        await self._now.wait()
