"""Which policy version a visitor belongs to: a sticky hash, so that the same visitor always gets the same arm."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

LIVE, CANDIDATE = "live", "candidate"


@dataclass(frozen=True, slots=True)
class Routing:
    """What is live, and what is being tried beside it."""

    live: str
    """Name of a policy version."""
    candidate: str | None = None
    traffic: float = 0.0
    """Share of visitors in the candidate's arm."""
    previous: tuple[str, ...] = ()
    """Versions that were live before, the newest first."""

    def version(self, arm: str) -> str:
        """The arm's policy version. Raises ValueError where there is no such arm."""
        if arm == LIVE:
            return self.live
        if arm == CANDIDATE and self.candidate is not None:
            return self.candidate
        raise ValueError(f"there is no arm {arm!r}: " + ("only 'live'" if self.candidate is None else "there are 'live' and 'candidate'"))

    def arm_of(self, visitor: str) -> tuple[str, float]:
        """The visitor's arm, and the share of visitors that are assigned to it.

        Raising the traffic moves visitors into the candidate's arm and none out of it; another candidate draws them anew.
        """
        if self.candidate is None or self.traffic <= 0.0:
            return LIVE, 1.0
        tried = place(self.candidate, visitor) < self.traffic
        return (CANDIDATE, self.traffic) if tried else (LIVE, 1.0 - self.traffic)

    def shown_versions(self, arm: str) -> list[str]:
        """Versions whose creatives the arm may show, best first: its own; where a product has none of these, those live before it."""
        own = self.version(arm)
        older = [self.live, *self.previous] if arm == CANDIDATE else list(self.previous)
        return list(dict.fromkeys([own, *older]))


def place(salt: str, visitor: str) -> float:
    """The visitor's place in [0, 1), uniform over visitors and independent between salts."""
    digest = hashlib.sha256(f"{salt}\n{visitor}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
