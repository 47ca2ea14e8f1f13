"""Load on the service: closed loop of 1 to 32 clients, then open loop (Poisson) at twice the capacity that was measured.

    python -m benchmarks.serve_load [--seconds 20] [--out build/serve_load.json]          # --quick: 1, 4 and 32 clients, 8 s each
    python -m benchmarks.serve_load --address http://127.0.0.1:8000 --keys KEY KEY        # a service that runs already

Without --address it times the bare pipeline first (the same service object and models, without Ray and HTTP), and then starts a service of
its own. Says throughput, p50 and p99; under overload how many were answered, refused and failed, and how fast refusals came; and how much
longer one request alone takes than bare. Throughput counts answered requests; every request asks for the same number of creatives.
The clients share the machine with what they measure.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.service_process import REPOSITORY, ServiceProcess
from caig_rl.serving.keys import KeyRing
from caig_rl.world.products import world_cutout

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answered:
    """One request."""

    status: int
    """HTTP status; 0 where no answer came."""
    seconds: float
    retry_after: bool


@dataclass(frozen=True)
class Measured:
    """One measurement."""

    load: str
    offered_per_s: float | None
    answered_per_s: float
    p50_s: float | None
    p99_s: float | None
    statuses: dict[int, int]
    refused_p95_s: float | None
    refused_without_retry_after: int


class Client:
    """Asks for creatives, for several tenants in turn: one alone may not fill the service."""

    def __init__(self, http: httpx.AsyncClient, keys: Sequence[str], candidates: int) -> None:
        out = io.BytesIO()
        Image.fromarray(world_cutout(0, 0).rgba).save(out, "PNG")
        self._http, self._picture = http, out.getvalue()
        self._headers = [{"Authorization": f"Bearer {key}"} for key in keys]
        self._turn = count()
        self._data = {"title": "light crimson mug", "category": "mug", "candidates": str(candidates), "product_id": "benchmark"}

    async def ask(self) -> Answered:
        """One request, timed."""
        turn = next(self._turn)
        data, headers = self._data | {"seed": str(turn)}, self._headers[turn % len(self._headers)]
        started = time.perf_counter()
        try:
            answer = await self._http.post("/v1/creatives", data=data, files={"image": self._picture}, headers=headers)
        except httpx.TransportError:
            return Answered(0, time.perf_counter() - started, False)
        return Answered(answer.status_code, time.perf_counter() - started, "retry-after" in answer.headers)


async def closed_loop(client: Client, clients: int, seconds: float) -> Measured:
    """`clients` that each ask again as soon as they are answered."""
    answers: list[Answered] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        while time.perf_counter() < until:
            answers.append(await client.ask())
            if answers[-1].status != 200:
                await asyncio.sleep(1.0)  # the least that Retry-After says

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return summary(f"closed, {clients} clients", None, answers, time.perf_counter() - started)


async def open_loop(client: Client, per_second: float, seconds: float, seed: int = 0) -> Measured:
    """Requests at random times that do not wait for each other."""
    rng, running, started = np.random.default_rng(seed), [], time.perf_counter()
    due = 0.0
    while due < seconds:
        due += float(rng.exponential(1.0 / per_second))
        await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
        running.append(asyncio.create_task(client.ask()))
    offered = time.perf_counter() - started
    answers = list(await asyncio.gather(*running))
    return summary(f"open, {per_second:.2f}/s", len(running) / offered, answers, time.perf_counter() - started)


def summary(load: str, offered: float | None, answers: Sequence[Answered], seconds: float) -> Measured:
    """What a measurement came to."""
    good = [one.seconds for one in answers if one.status == 200]
    refused = [one for one in answers if one.status in (429, 503)]
    return Measured(
        load=load,
        offered_per_s=offered,
        answered_per_s=len(good) / seconds,
        p50_s=float(np.percentile(good, 50)) if good else None,
        p99_s=float(np.percentile(good, 99)) if good else None,
        statuses=dict(Counter(one.status for one in answers)),
        refused_p95_s=float(np.percentile([one.seconds for one in refused], 95)) if refused else None,
        refused_without_retry_after=sum(not one.retry_after for one in refused),
    )


async def measure(given: argparse.Namespace, note: Callable[[str], None]) -> list[Measured]:
    """All measurements, in order."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=given.address, timeout=TIMEOUT_S, limits=limits) as http:
        client = Client(http, given.keys, given.candidates)
        first = [await client.ask() for _ in range(3)]
        if any(one.status != 200 for one in first):
            raise SystemExit(f"the service does not answer one request at a time: {first}")
        found: list[Measured] = []
        for clients in given.clients:
            found.append(await closed_loop(client, clients, given.seconds))
            note(line(found[-1]))
        capacity = max(one.answered_per_s for one in found)
        found.append(await open_loop(client, 2.0 * capacity, given.seconds))
        note(line(found[-1]))
        note(f"capacity {capacity:.2f} requests/s; at twice that {found[-1].answered_per_s / capacity:.0%} of it")
    return found


def line(one: Measured) -> str:
    """A measurement in one line."""
    times = "" if one.p50_s is None else f"  p50 {one.p50_s:.2f} s  p99 {one.p99_s:.2f} s"
    refused = "" if one.refused_p95_s is None else f"  refusals p95 {1000 * one.refused_p95_s:.0f} ms"
    return f"{one.load:22} {one.answered_per_s:6.2f} answered/s{times}{refused}  {one.statuses}"


@contextmanager
def fresh_service(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A service of the demo's configuration: its address, and the keys of two tenants."""
    keys = [KeyRing(folder).add(tenant) for tenant in ("acme", "other")]
    with ServiceProcess(folder) as service:
        yield service.address, keys
        if code := service.stop():
            raise SystemExit(f"the service ended with {code} on SIGTERM; see {service.log}")


def bare_seconds(folder: Path, candidates: int, requests: int) -> list[float]:
    """Seconds of each request through the bare pipeline, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bare_pipeline", f"--root={folder}", f"--candidates={candidates}", f"--requests={requests}"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    # The models' libraries may say something too, before and after.
    numbers = next(text for text in reversed(done.stdout.splitlines()) if text.startswith("["))
    return [float(seconds) for seconds in json.loads(numbers)]


def measure_all(given: argparse.Namespace) -> dict[str, object]:
    """The running service that was named, or the bare pipeline and a service of our own."""
    if given.address:
        return {"served": [asdict(one) for one in asyncio.run(measure(given, print))]}
    with tempfile.TemporaryDirectory(prefix="caig-rl-load-") as folder:
        bare = float(np.median(bare_seconds(Path(folder) / "bare", given.candidates, given.bare_requests)))
        print(f"bare pipeline: {bare:.3f} s a request")
        with fresh_service(Path(folder) / "served") as (given.address, given.keys):
            served = asyncio.run(measure(given, print))
    alone = next((one.p50_s for one in served if one.load == "closed, 1 clients"), None)
    if alone is None:
        return {"bare_p50_s": bare, "served": [asdict(one) for one in served]}
    print(f"one request alone takes {alone:.3f} s through the service, {alone / bare - 1.0:+.1%} over the bare pipeline's {bare:.3f} s")
    return {"bare_p50_s": bare, "overhead": alone / bare - 1.0, "served": [asdict(one) for one in served]}


def main() -> None:
    """Measure and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", help="of a service that runs already; without it, one is started")
    parser.add_argument("--keys", nargs="+", default=[], help="its API keys, of two tenants where one may not fill it")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--bare-requests", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build/serve_load.json"))
    given = parser.parse_args()
    if given.quick:
        given.clients, given.seconds, given.bare_requests = [1, 4, 32], 8.0, 8
    if bool(given.address) != bool(given.keys):
        parser.error("--address and --keys go together")
    found = measure_all(given)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
