"""Many small appends, one sync: requests that arrive while the disk is busy are made durable together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from caig_rl.serving.events.event_log import EventLog
from caig_rl.serving.events.reported_events import Event


class GroupCommit:
    """An event log for many concurrent callers of one event loop."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[None]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="events")
        self._worker: asyncio.Task[None] | None = None

    async def append(self, events: Sequence[Event]) -> None:
        """Returns when all are durable. Raises OSError where they could not be made so."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        await done

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            events = [event for part, _ in batch for event in part]
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._log.append, events)
            except OSError as error:  # a full disk: nobody in this batch is acknowledged, and the next batch tries a new file
                for _, done in batch:
                    if not done.done():
                        done.set_exception(OSError(*error.args))
                continue
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
