"""Clients of the service that time what they are answered: one after the other, in closed loops, and in an open loop."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from PIL import Image

from caig_rl.world.products import world_cutout

RAMP = 0.2
"""Share of a measurement that does not count: the service fills up first."""
ALLOWED = (200, 429, 503, 422)
"""429 and 503 refuse load. 422 is an answer too: none of the candidates can be shown. Anything else is a failure; 0 is no answer at all."""


@dataclass(frozen=True)
class Answered:
    """One request."""

    status: int
    """HTTP status; 0 where no answer came."""
    seconds: float
    finished: float
    """By `time.perf_counter`."""
    retry_after: bool


@dataclass(frozen=True)
class Measured:
    """One measurement."""

    load: str
    offered_per_s: float | None
    answered_per_s: float
    """Answers 200 in the part that counts, a second."""
    p50_s: float | None
    p99_s: float | None
    statuses: dict[int, int]
    refusals_s: list[float]
    """How long each refusal took."""
    refused_without_retry_after: int

    @property
    def failed(self) -> int:
        """Requests that were neither answered nor refused in good order."""
        return sum(number for status, number in self.statuses.items() if status not in ALLOWED)

    def line(self) -> str:
        """In one line."""
        times = "" if self.p50_s is None else f"  p50 {self.p50_s:6.2f} s  p99 {self.p99_s:6.2f} s"
        refused = f"  refusals p95 {1000 * np.percentile(self.refusals_s, 95):.0f} ms" if self.refusals_s else ""
        return f"{self.load:22} {self.answered_per_s:6.2f} answered/s{times}{refused}  {self.statuses}"


class Client:
    """Asks for creatives, for several tenants in turn: one alone may not fill the service."""

    def __init__(self, http: httpx.AsyncClient, keys: Sequence[str], candidates: int) -> None:
        self._http, self._picture = http, product_picture()
        self._headers = [{"Authorization": f"Bearer {key}"} for key in keys]
        self._turn = 0
        self._data = {"title": "light crimson mug", "category": "mug", "candidates": str(candidates), "product_id": "benchmark"}

    async def ask(self, seed: int | None = None) -> Answered:
        """One request, timed. Without `seed` each has another one."""
        self._turn += 1
        data = self._data | {"seed": str(1000 + self._turn if seed is None else seed)}
        headers = self._headers[self._turn % len(self._headers)]
        started = time.perf_counter()
        try:
            answer = await self._http.post("/v1/creatives", data=data, files={"image": self._picture}, headers=headers)
        except httpx.TransportError:  # no answer at all: counted as such
            return _answered(0, started, False)
        if answer.status_code == 422 and answer.json()["code"] != "nothing_usable":
            raise SystemExit(f"the service does not take the benchmark's order: {answer.text}")
        return _answered(answer.status_code, started, "retry-after" in answer.headers)


def product_picture() -> bytes:
    """PNG with alpha, of a product of the world."""
    out = io.BytesIO()
    Image.fromarray(world_cutout(0, 0).rgba).save(out, "PNG")
    return out.getvalue()


async def one_by_one(client: Client, seeds: Sequence[int]) -> list[float]:
    """Seconds of each request, none beside another. Raises SystemExit where one is not answered."""
    seconds = []
    for seed in seeds:
        answer = await client.ask(seed)
        if answer.status not in (200, 422):
            raise SystemExit(f"the service does not answer one request at a time: {answer}")
        seconds.append(answer.seconds)
    return seconds


async def closed_loop(client: Client, clients: int, seconds: float) -> Measured:
    """`clients` that each ask again as soon as they are answered."""
    answers: list[Answered] = []
    started = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() < started + seconds:
            answers.append(await client.ask())
            if answers[-1].status != 200:
                await asyncio.sleep(1.0)  # the least that Retry-After says

    await asyncio.gather(*(one() for _ in range(clients)))
    return summary(f"closed, {clients} clients", None, answers, started, seconds)


async def open_loop(client: Client, per_second: float, seconds: float, seed: int = 0) -> Measured:
    """Requests at random times that do not wait for each other."""
    rng, running, started = np.random.default_rng(seed), [], time.perf_counter()
    due = 0.0
    while due < seconds:
        due += float(rng.exponential(1.0 / per_second))
        await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
        running.append(asyncio.create_task(client.ask()))
    offered = len(running) / (time.perf_counter() - started)
    answers = list(await asyncio.gather(*running))
    return summary(f"open, {per_second:.2f}/s", offered, answers, started, seconds)


def summary(load: str, offered: float | None, answers: Sequence[Answered], started: float, seconds: float) -> Measured:
    """What a measurement came to. The rate is that between the end of the ramp and the end of the load: what comes after is a tail."""
    good = [one.seconds for one in answers if one.status == 200]
    refused = [one for one in answers if one.status in (429, 503)]
    counted = sum(one.status == 200 and RAMP * seconds < one.finished - started <= seconds for one in answers)
    return Measured(
        load=load,
        offered_per_s=offered,
        answered_per_s=counted / ((1.0 - RAMP) * seconds),
        p50_s=float(np.percentile(good, 50)) if good else None,
        p99_s=float(np.percentile(good, 99)) if good else None,
        statuses=dict(Counter(one.status for one in answers)),
        refusals_s=[one.seconds for one in refused],
        refused_without_retry_after=sum(not one.retry_after for one in refused),
    )


def _answered(status: int, started: float, retry_after: bool) -> Answered:
    finished = time.perf_counter()
    return Answered(status, finished - started, finished, retry_after)
