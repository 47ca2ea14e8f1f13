"""How many requests may be under way: what does not fit is answered at once, with how long to wait."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caig_rl.serving.problems import Problem

_SMOOTHING = 0.2


class Slots:
    """Places for requests of one replica. Lives in one event loop and needs no lock."""

    def __init__(self, total: int, per_tenant: int, clock: Callable[[], float]) -> None:
        """`total` places, at most `per_tenant` of them for one tenant; `clock` in seconds."""
        self._total, self._per_tenant, self._clock = total, per_tenant, clock
        self._taken: Counter[str] = Counter()
        self._typical_s = 1.0

    @property
    def taken(self) -> int:
        """Requests under way."""
        return self._taken.total()

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Hold a place inside the block.

        Raises:
            Problem: 503 where all places are taken, 429 where this tenant has its share of them; with the seconds to wait.
        """
        wait = max(1, math.ceil(self._typical_s))
        if self.taken >= self._total:
            raise Problem(503, "busy", f"{self._total} requests are under way; try again in {wait} s", retry_after=wait)
        if self._taken[tenant] >= self._per_tenant:
            raise Problem(429, "too_many", f"{self._per_tenant} of your requests are under way; wait for one to end", retry_after=wait)
        self._taken[tenant] += 1
        started = self._clock()
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]
            self._typical_s += _SMOOTHING * (self._clock() - started - self._typical_s)
