"""Nothing waits for the cluster in silence: says, again and again, what is waited for and what the cluster has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import ray

from caig_rl.wording import duration

T = TypeVar("T")


async def wait_with_notes(
    answer: Awaitable[T], what: str, note_s: float, note: Callable[[str], None], resources: Callable[[], str] | None = None
) -> T:
    """The answer; while it takes long, `note` is told every `note_s` seconds that `what` is waited for, and what the cluster has."""
    waited, started = asyncio.ensure_future(answer), time.monotonic()
    try:
        while not (await asyncio.wait({waited}, timeout=note_s))[0]:
            note(f"waiting {duration(time.monotonic() - started)} for {what}; {(resources or resources_in_words)()}")
        return waited.result()
    finally:
        waited.cancel()


def resources_in_words() -> str:
    """What the connected cluster has, and how much of it is free. A worker that has its place and is still loading waits for nothing."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return (
        f"the cluster has {total.get('CPU', 0):g} CPUs ({free.get('CPU', 0):g} free) and "
        f"{total.get('GPU', 0):g} GPUs ({free.get('GPU', 0):g} free)"
    )
