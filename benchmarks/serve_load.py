"""Load on the service: alone, closed loop of 1 to 32 clients, then open loop (Poisson) at twice the capacity that was measured.

    python -m benchmarks.serve_load [--seconds 40] [--repeats 3] [--out build/serve_load.json]      # about 18 minutes
    python -m benchmarks.serve_load --quick                                                          # about 5: too short to judge by
    python -m benchmarks.serve_load --address http://127.0.0.1:8000 --keys KEY KEY                   # a service that runs already

Without --address it times the bare pipeline (the same service object, pictures and models in one process, without Ray and HTTP) and a
service of its own in turns, minutes apart, since a machine's pace drifts by more than the overhead: bare, served, bare and so on; one
request at a time, the same seeds. Then another service takes the load. Promised, and its exit code is 1 where one is broken:

- the service's own overhead: one request alone takes less than 10 % longer than bare (median over requests, paired by seed);
- at twice the capacity nothing fails: every answer is 200, or 429 or 503 with Retry-After (422: none of the candidates can be shown);
- refusals come within 100 ms (p95), and answers no slower than at capacity: at least 95 % of it, in the mean over the repeats. A batch
  more or less within a measurement is some per cent.

The clients share the machine with what they measure, so nothing else should run on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.bare_pipeline import WARM_UP
from benchmarks.http_load import Client, Measured, closed_loop, one_by_one, open_loop
from benchmarks.promises import Promises
from benchmarks.service_process import REPOSITORY, ServiceProcess
from caig_rl.serving.keys import KeyRing

TIMEOUT_S = 60.0
MOST_OVERHEAD, SLOWEST_REFUSAL_S, LEAST_SHARE = 0.10, 0.1, 0.95


@asynccontextmanager
async def client_of(given: argparse.Namespace) -> AsyncIterator[Client]:
    """Requests to the service at `given.address`."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=given.address, timeout=TIMEOUT_S, limits=limits) as http:
        yield Client(http, given.keys, given.candidates)


async def one_alone(given: argparse.Namespace) -> list[float]:
    """Seconds of each request to the running service, which has nothing else to do."""
    async with client_of(given) as client:
        alone = (await one_by_one(client, range(WARM_UP + given.requests)))[WARM_UP:]
    print(f"one request alone: median {np.median(alone):.3f} s, middle half {spread(alone)}", flush=True)
    return alone


async def under_load(given: argparse.Namespace) -> dict[str, Any]:
    """All loads on the running service, in order."""
    async with client_of(given) as client:
        closed = [noted(await closed_loop(client, clients, given.seconds)) for clients in given.clients]
        best = max(range(len(closed)), key=lambda index: closed[index].answered_per_s)
        # Measured again, in turn with the overload: the best of many is by chance too good, and the machine's pace drifts.
        capacity, overload = [], []
        for repeat in range(given.repeats):
            capacity.append(noted(await closed_loop(client, given.clients[best], given.seconds)))
            rate = 2.0 * float(np.mean([one.answered_per_s for one in [closed[best], *capacity]]))
            overload.append(noted(await open_loop(client, rate, given.seconds, repeat)))
    return {"closed": closed, "capacity": capacity, "overload": overload}


def noted(one: Measured) -> Measured:
    """Print it."""
    print(one.line(), flush=True)
    return one


def spread(values: Sequence[float]) -> str:
    """From the first to the third quarter."""
    return f"{np.percentile(values, 25):.3f} to {np.percentile(values, 75):.3f} s"


def overhead(bare: Sequence[Sequence[float]], served: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Median over requests of how much longer one takes than bare, with its 95 % bootstrap interval.

    Args:
        bare: (T + 1, N) seconds of the bare runs.
        served: (T, N) seconds of the runs of a service between them.
    """
    between = (np.asarray(bare)[:-1] + np.asarray(bare)[1:]) / 2.0
    ratios = np.mean(np.asarray(served) / between, axis=0) - 1.0
    drawn = np.random.default_rng(0).choice(ratios, size=(4000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def judge(promises: Promises, bare: Sequence[Sequence[float]], found: dict[str, Any]) -> None:
    """Say of each promise whether it was kept."""
    if bare:
        middle, low, high = overhead(bare, found["alone_s"])
        words = f"{middle:+.1%} (95 % {low:+.1%} to {high:+.1%}, {len(bare[0])} requests, {len(bare) - 1} turns)"
        promises.check(f"overhead of one request alone under {MOST_OVERHEAD:.0%}", middle < MOST_OVERHEAD, words)
    everything: list[Measured] = [*found["closed"], *found["capacity"], *found["overload"]]
    failed, silent = sum(one.failed for one in everything), sum(one.refused_without_retry_after for one in everything)
    asked = sum(sum(one.statuses.values()) for one in everything)
    promises.check("no request fails", failed == 0, f"{failed} of {asked} requests")
    promises.check("every refusal says when to come again", silent == 0, f"{silent} without Retry-After")
    refusals = [seconds for one in found["overload"] for seconds in one.refusals_s]
    if refusals:
        p95 = float(np.percentile(refusals, 95))
        words = f"{1000 * p95:.0f} ms, median {1000 * np.median(refusals):.0f} ms, {len(refusals)} refusals"
        promises.check(f"refusals within {1000 * SLOWEST_REFUSAL_S:.0f} ms (p95)", p95 <= SLOWEST_REFUSAL_S, words)
    else:
        promises.check("twice the capacity is more than is taken", False, "nothing was refused: make --seconds longer")
    rates = {name: np.array([one.answered_per_s for one in found[name]]) for name in ("capacity", "overload")}
    share = float(rates["overload"].mean() / rates["capacity"].mean())
    each = ", ".join(f"{one:.0%}" for one in rates["overload"] / rates["capacity"])
    words = f"{share:.0%} of {rates['capacity'].mean():.2f} requests/s (each repeat: {each})"
    promises.check("throughput at twice the capacity no lower than at capacity", share >= LEAST_SHARE, words)


@contextmanager
def fresh_service(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A service of the demo's configuration: its address, and the keys of two tenants."""
    keys = [KeyRing(folder).add(tenant) for tenant in ("acme", "other")]
    with ServiceProcess(folder) as service:
        yield service.address, keys
        if code := service.stop():
            raise SystemExit(f"the service ended with {code} on SIGTERM: {service.log.read_text()[-2000:]}")


def bare_seconds(folder: Path, candidates: int, requests: int) -> list[float]:
    """Seconds of each request through the bare pipeline, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bare_pipeline", f"--root={folder}", f"--candidates={candidates}", f"--requests={requests}"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    # The models' libraries may say something too, before and after.
    numbers = next(text for text in reversed(done.stdout.splitlines()) if text.startswith("["))
    seconds = [float(one) for one in json.loads(numbers)]
    print(f"bare pipeline:     median {np.median(seconds):.3f} s, middle half {spread(seconds)}", flush=True)
    return seconds


def measure_all(given: argparse.Namespace) -> tuple[list[list[float]], dict[str, Any]]:
    """Of the running service that was named; or of services of our own, and the bare pipeline between them."""
    if given.address:
        return [], {"alone_s": [asyncio.run(one_alone(given))], **asyncio.run(under_load(given))}
    alone = list[list[float]]()
    with tempfile.TemporaryDirectory(prefix="caig-rl-load-") as folder:
        bare = [bare_seconds(Path(folder) / "bare-0", given.candidates, given.requests)]
        for turn in range(given.turns):
            with fresh_service(Path(folder) / f"served-{turn}") as (given.address, given.keys):
                alone.append(asyncio.run(one_alone(given)))
            bare.append(bare_seconds(Path(folder) / f"bare-{turn + 1}", given.candidates, given.requests))
        with fresh_service(Path(folder) / "loaded") as (given.address, given.keys):
            found = asyncio.run(under_load(given))
    return bare, {"alone_s": alone, **found}


def main() -> int:
    """Measure, say what was kept, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", help="of a service that runs already; without it, one is started")
    parser.add_argument("--keys", nargs="+", default=[], help="its API keys, of two tenants where one may not fill it")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each loop")
    parser.add_argument("--repeats", type=int, default=3, help="of capacity and overload")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--requests", type=int, default=40, help="one at a time, bare and served")
    parser.add_argument("--turns", type=int, default=3, help="of bare and served")
    parser.add_argument("--quick", action="store_true", help="1, 4 and 16 clients, 15 s each, one repeat")
    parser.add_argument("--out", type=Path, default=Path("build/serve_load.json"))
    given = parser.parse_args()
    if given.quick:
        given.clients, given.seconds, given.repeats, given.requests, given.turns = [1, 4, 16], 15.0, 1, 8, 1
    if bool(given.address) != bool(given.keys):
        parser.error("--address and --keys go together")
    bare, found = measure_all(given)
    promises = Promises()
    judge(promises, bare, found)
    content: dict[str, Any] = {name: [asdict(one) for one in found[name]] for name in ("closed", "capacity", "overload")}
    content |= {"bare_s": bare, "alone_s": found["alone_s"], "overhead": overhead(bare, found["alone_s"]) if bare else None}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"promises": promises.verdicts, **content}, indent=1) + "\n")
    print(f"wrote {given.out}")
    return 0 if given.quick else promises.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
