"""Finds the products to blame for a shard that failed as often as allowed, so that one product takes no others with it. Plain: no Ray.

    whole shard --poisoned--> each product alone --> the guilty fail --> the others whole again, without them

What a product alone gave is thrown away: only a whole shard's result counts, so where nobody was to blame (workers lost by chance) the
result is the one of an undisturbed run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard

logger = logging.getLogger(__name__)

MAX_TRIALS = 3
"""Times that a shard may fail whole with nobody in it to blame, before all of it fails."""


@dataclass(slots=True)
class Isolated:
    """What came of a shard."""

    rolled: RolledOut | None = None
    """The shard, or what was left of it; None where nothing was."""
    failed: list[tuple[Shard, ShardPoisoned]] = field(default_factory=list)
    """Parts that failed, mostly of one product, and why."""


async def roll_out_or_isolate(rollout: Callable[[Shard], Awaitable[RolledOut]], shard: Shard) -> Isolated:
    """Roll `shard` out; where it is poisoned, find the guilty products one by one and roll the others out without them."""
    found = Isolated()
    for _ in range(MAX_TRIALS):
        try:
            found.rolled = await rollout(shard)
            return found
        except ShardPoisoned as error:
            if len(shard.admissions) == 1:
                found.failed.append((shard, error))
                return found
            logger.error("%s; its products are tried one by one", error)
            poisoned = error
        innocent = []
        for single in shard.singles():
            try:
                await rollout(single)
            except ShardPoisoned as error:
                found.failed.append((single, error))
            else:
                innocent.append(single)
        if not innocent:
            return found
        shard = Shard.joined(innocent)
    found.failed.append((shard, poisoned))
    return found
