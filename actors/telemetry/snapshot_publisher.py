"""Takes a snapshot of the loop every few seconds and hands it to its readers, so that the loop itself reports nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

from actors.telemetry.snapshot import Snapshot

logger = logging.getLogger(__name__)


PERIOD_S = 2.0


async def publish_snapshots(
    takers: Sequence[Callable[[Snapshot], None]],
    snapshot: Callable[[], Snapshot],
    publish: Callable[[Snapshot], None] = lambda _: None,
    period_s: float = PERIOD_S,
    publish_every: int = 3,
) -> None:
    """Give a snapshot to every taker until cancelled, and once more then, so that the last round is not lost.

    `publish` is given every `publish_every`th snapshot in a thread of its own: it may write to a slow disk.
    """
    try:
        for number in itertools.count():
            now = snapshot()
            for take in takers:
                take(now)
            if number % publish_every == 0:
                await asyncio.to_thread(publish, now)
            await asyncio.sleep(period_s)
    finally:
        now = snapshot()
        for take in takers:
            take(now)
        publish(now)


async def end_publishing(task: asyncio.Task[None]) -> None:
    """Cancel `task`, which publishes snapshots, and wait for its last one. Where it broke, the run lacks metrics, not its result."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    except Exception:
        logger.exception("publishing snapshots broke; the run goes on without metrics")
