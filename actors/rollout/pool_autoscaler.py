"""How many workers each pool should have, by where the pipeline waits. A pure state machine: loads in, decisions out; clock injected.

A pool grows when, for most of a window, as many shards waited for each of its workers as `grow_at` says, and shrinks by one when for all
of a window it could have done without one worker and nothing waited. Between the two lies a wide band in which nothing happens, and
after each change the pool is observed for a whole window again: that is the hysteresis.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from caig_rl.wording import duration

_MOST = 0.5
"""Share of a window's samples that counts as most of it."""
_GRACE = 0.1
"""Waiting shards per worker up to which a pool counts as not waited for."""


@dataclass(frozen=True, slots=True)
class Load:
    """A pool at one moment."""

    size: int
    """Workers it is to have."""
    waiting: int
    """Calls that wait for a worker."""
    idle: int
    """Workers that wait for a call."""
    starting: int
    """Workers on their way up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Fewest and most workers of a pool."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of a pool's size."""

    pool: str
    before: int
    after: int
    reason: str
    at_s: float
    """By the scaler's clock."""


class Autoscaler:
    """Decides for all pools that have room between their limits."""

    def __init__(self, limits: Mapping[str, Limits], clock: Callable[[], float], window_s: float, grow_at: float) -> None:
        """`grow_at`: waiting shards per worker, for most of `window_s`, at which a pool grows."""
        self._limits, self._clock, self._window_s, self._grow_at = dict(limits), clock, window_s, grow_at
        self._seen: dict[str, deque[tuple[float, Load]]] = {name: deque() for name in limits}

    def decide(self, loads: Mapping[str, Load]) -> list[Decision]:
        """Take note of the loads, and say what should change now. Call it at a steady pace."""
        decided = []
        for name, load in loads.items():
            decision = self._decide(name, load)
            if decision is not None:
                decided.append(decision)
                self._seen[name].clear()
        return decided

    def _decide(self, name: str, load: Load) -> Decision | None:
        now, seen, limits = self._clock(), self._seen[name], self._limits[name]
        seen.append((now, load))
        # One sample from before the window stays, so that the window is known to be full.
        while len(seen) > 1 and seen[1][0] <= now - self._window_s:
            seen.popleft()
        if now - seen[0][0] < self._window_s:
            return None
        waiting = sum(one.waiting for _, one in seen) / len(seen) / load.size
        pressed = sum(one.waiting >= self._grow_at * load.size for _, one in seen) / len(seen)
        idle = min(one.idle for _, one in seen)
        if pressed > _MOST and load.size < limits.most and not load.starting:
            after = min(limits.most, load.size + max(1, min(load.waiting, load.size)))
            reason = f"{waiting:.1f} shards waited for each worker, on average over {duration(self._window_s)}"
            return Decision(name, load.size, after, reason, now)
        if idle >= 1 and waiting <= _GRACE and load.size > limits.least:
            reason = f"at least {idle} of {load.size} workers had nothing to do for {duration(self._window_s)}"
            return Decision(name, load.size, load.size - 1, reason, now)
        return None
