"""Who is inside: requests are let in until the service ends, and those that are in are finished first."""

from __future__ import annotations

import asyncio
import time

from caig_rl.serving.problems import Problem

RETRY_AFTER_S = 10
"""About what another start of the service takes."""
_LOOK_S = 0.05


class Doors:
    """Counts the requests of one replica. Used by its event loop alone."""

    def __init__(self) -> None:
        self._open, self._inside = True, 0

    def enter(self) -> None:
        """Count one in; `leave` counts it out. Raises Problem (503) once the doors are closed."""
        if not self._open:
            raise Problem(503, "stopping", "the service is being stopped; ask again soon", retry_after=RETRY_AFTER_S)
        self._inside += 1

    def leave(self) -> None:
        """One that entered is done, its answer sent."""
        self._inside -= 1

    async def close(self, within_s: float) -> int:
        """Let nobody in any more and wait until all are out, at most `within_s`. Returns how many are still inside."""
        self._open, until = False, time.monotonic() + within_s
        while self._inside and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
        return self._inside
