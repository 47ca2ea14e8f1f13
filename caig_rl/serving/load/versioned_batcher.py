"""Batches of requests that wait together, each batch for one policy version: weights are switched between batches, never within."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class VersionedBatcher(Generic[Request, Answer]):
    """Runs one batch at a time in a thread of its own; what arrives meanwhile waits for the next. It adds no waiting of its own."""

    def __init__(
        self, run: Callable[[str, Sequence[Request]], Sequence[Answer]], max_batch: int, size: Callable[[Request], int] = lambda _: 1
    ) -> None:
        """`run(version, requests)` gives one answer a request; `max_batch`: most that a batch holds, where a request counts `size`.

        A request that is larger than `max_batch` makes a batch of its own.
        """
        self._run, self._max_batch, self._size = run, max_batch, size
        self._waiting: deque[tuple[str, Request, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, version: str, request: Request) -> Answer:
        """The answer to `request` by `version`. Raises what `run` raised for it."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, request, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            version = self._waiting[0][0]
            batch = self._take(version)
            if batch:
                await self._answer(version, batch)

    def _take(self, version: str) -> list[tuple[Request, asyncio.Future[Answer]]]:
        """The oldest requests for `version` that fit together; those whose caller has gone are dropped."""
        taken: list[tuple[Request, asyncio.Future[Answer]]] = []
        kept: deque[tuple[str, Request, asyncio.Future[Answer]]] = deque()
        room, full = self._max_batch, False
        for wanted, request, answer in self._waiting:
            if answer.done():
                continue
            # Once one does not fit, none overtakes it: a large request would wait for ever behind small ones.
            full = full or bool(wanted == version and taken and self._size(request) > room)
            if wanted != version or full:
                kept.append((wanted, request, answer))
            else:
                taken.append((request, answer))
                room -= self._size(request)
        self._waiting = kept
        return taken

    async def _answer(self, version: str, batch: list[tuple[Request, asyncio.Future[Answer]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._run, version, [request for request, _ in batch])
        except Exception as error:  # one request's fault must not fail the others: each is tried by itself
            if len(batch) > 1:
                for one in batch:
                    await self._answer(version, [one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
