"""Says which workers are not up yet, and what the cluster has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from actors.cluster.resource_wait import resources_in_words
from actors.telemetry.snapshot import PoolState, Snapshot
from caig_rl.wording import duration


class WaitReporter:
    """Looks at pools and speaks where one, or the learner's group, has been short of workers for `note_s` seconds."""

    def __init__(
        self,
        note_s: float,
        note: Callable[[str], None],
        resources: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`resources` says what the cluster has; None: asks Ray."""
        self._note_s, self._note, self._resources, self._clock = note_s, note, resources or resources_in_words, clock
        self._short_since: float | None = None
        self._last_note = 0.0

    def take(self, now: Snapshot) -> None:
        """Look at one snapshot."""
        self.look(now.pools)

    def look(self, pools: Mapping[str, PoolState]) -> None:
        """Look at the pools, by name, as they are now."""
        missing = _missing(pools)
        time_now = self._clock()
        if not missing:
            self._short_since = None
            return
        if self._short_since is None:
            self._short_since = self._last_note = time_now
        if time_now - self._last_note >= self._note_s:
            self._last_note = time_now
            self._note(
                f"waiting {duration(time_now - self._short_since)} for {', '.join(missing)} to find a place and load; {self._resources()}"
            )


def _missing(pools: Mapping[str, PoolState]) -> list[str]:
    return [
        f"{state.desired - state.ready} of {state.desired} {name} worker(s)" for name, state in pools.items() if state.ready < state.desired
    ]
