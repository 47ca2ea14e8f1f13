"""No acknowledged event is ever lost: clients report impressions and clicks while replicas, and the whole service, are killed at random.

    python -m benchmarks.serve_durability [--events 100000] [--replica-kills 8] [--service-kills 3] [--seed 0]
    python -m benchmarks.serve_durability --quick

Starts a service of two ingress replicas on a fresh folder. Impression ids are signed here with the service's own keys, as if it had
given them out. A batch that got no answer is sent again, or, by the toss of a coin, never again. At the end: every acknowledged event is
in the log exactly once, every other event once or not at all, and nothing that was not sent is.
"""

from __future__ import annotations

import argparse
import json
import queue
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np
import psutil

from benchmarks.service_process import ServiceProcess
from caig_rl.serving.events.click_log import read_impressions
from caig_rl.serving.events.event_log import FOLDER, EventReader, decode_line
from caig_rl.serving.events.impressions import Impression, mint, read_impression
from caig_rl.serving.events.signing import Signer
from caig_rl.serving.keys import KeyRing

CLIENTS = 4
GIVE_UP = 0.3
"""Probability that a batch without an answer is not sent again."""
STUCK_S = 300.0
Batch = list[dict[str, str]]


class Service(Protocol):
    """What is disturbed."""

    address: str
    log: Path

    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""

    def kill(self) -> None:
        """`kill -9` of all of it."""

    def replicas(self, deployment: str = "") -> dict[int, str]:
        """Process id -> title of the living replicas."""


@dataclass(frozen=True)
class Result:
    """What was sent, killed and found."""

    events: int
    acknowledged: int
    given_up: int
    sent_again: int
    """Batches whose first sending got no answer."""
    replica_kills: int
    service_kills: int
    found: int
    """Events that a reader of the log sees."""
    lines: int
    """The same on disk: some were sent twice."""
    lost: int
    """Acknowledged and not found."""
    foreign: int
    """Found and never sent."""
    given_up_but_kept: int
    damaged: int
    stopped_with: int
    """Exit code after SIGTERM."""
    seconds: float

    @property
    def good(self) -> bool:
        """The promise was kept."""
        everything_answered = self.acknowledged + self.given_up == self.events
        return everything_answered and not (self.lost or self.foreign or self.damaged or self.stopped_with)


def batches(signer: Signer, events: int, size: int) -> list[Batch]:
    """Half of the events are impressions, half their clicks, in batches of `size`."""
    now, items = time.time(), []
    for number in range(events // 2):
        shown = Impression(
            "acme", f"c{number % 50}", f"p{number % 10}", "mugs", "", 1, f"v{number}", "live", 1.0, "", "base", "s", 0.5, now
        )
        impression_id = mint(shown, signer)
        items += [{"impression_id": impression_id, "kind": kind} for kind in ("impression", "click")]
    return [items[start : start + size] for start in range(0, len(items), size)]


class Clients:
    """Threads that send every batch until it is acknowledged or given up."""

    def __init__(self, service: Service, key: str, work: Sequence[Batch], seed: int) -> None:
        self._address, self._headers = service.address, {"Authorization": f"Bearer {key}"}
        self._work: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        for batch in work:
            self._work.put(batch)
        self._rng, self._lock = np.random.default_rng((seed, 1)), threading.Lock()
        self.acknowledged: list[dict[str, str]] = []
        self.given_up: list[dict[str, str]] = []
        self.sent_again = 0
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> int:
        """Events that are acknowledged or given up."""
        with self._lock:
            return len(self.acknowledged) + len(self.given_up)

    def join(self) -> None:
        """Until all is sent."""
        for thread in self._threads:
            thread.join()

    def _send_all(self) -> None:
        with httpx.Client(base_url=self._address, headers=self._headers, timeout=20.0) as http:
            while True:
                try:
                    batch = self._work.get_nowait()
                except queue.Empty:  # all is sent
                    return
                if not self._sent(http, batch) and not self._gives_up(batch):
                    while not self._sent(http, batch):
                        time.sleep(0.2)

    def _sent(self, http: httpx.Client, batch: Batch) -> bool:
        try:
            answer = http.post("/v1/events", json={"events": batch})
            results = answer.json()["results"] if answer.status_code == 200 else None
        except (httpx.TransportError, ValueError):  # the service was killed, or the answer cut off
            return False
        if results is None:
            return False
        with self._lock:
            self.acknowledged += [item for item, one in zip(batch, results, strict=True) if one["status"] == "accepted"]
        return True

    def _gives_up(self, batch: Batch) -> bool:
        with self._lock:
            given_up = bool(self._rng.random() < GIVE_UP)
            if given_up:
                self.given_up += batch
            else:
                self.sent_again += 1
            return given_up


def disturb(service: Service, clients: Clients, plan: Sequence[tuple[int, str]], seed: int, note: Callable[[str], None]) -> None:
    """Kill what `plan` says, each as soon as that many events are done."""
    rng = np.random.default_rng((seed, 2))
    for moment, what in plan:
        until = time.monotonic() + STUCK_S
        while clients.done < moment:
            if time.monotonic() > until:
                raise RuntimeError(f"no progress for {STUCK_S:.0f} s at {clients.done} events; see {service.log}")
            time.sleep(0.02)
        if what == "service":
            service.kill()
            note(f"{clients.done:,} events: killed the whole service")
            service.start()
        else:
            note(f"{clients.done:,} events: killed {kill_a_replica(service, rng)}")


def kill_a_replica(service: Service, rng: np.random.Generator) -> str:
    """An ingress replica three times of four: it is these that write the log."""
    until = time.monotonic() + STUCK_S
    while time.monotonic() < until:
        living = service.replicas("Ingress" if rng.random() < 0.75 else "")
        if living:
            pid = int(rng.choice(sorted(living)))
            psutil.Process(pid).kill()
            return living[pid].split(":")[-1]
        time.sleep(0.2)
    raise RuntimeError(f"no replica came back within {STUCK_S:.0f} s; see {service.log}")


def keys_of(items: Sequence[dict[str, str]], signer: Signer) -> set[str]:
    """What the log calls these events."""
    return {f"{read_impression(item['impression_id'], signer).nonce}/{item['kind']}" for item in items}


def lines_on_disk(root: Path) -> Counter[str]:
    """Event -> how many times it was written, torn last lines left out."""
    whole = [line for path in (root / FOLDER).glob("*.log") for line in path.read_bytes().split(b"\n")[:-1]]
    return Counter(event.key for line in whole if (event := decode_line(line)) is not None)


def measure(
    root: Path,
    running: AbstractContextManager[Service],
    events: int,
    batch: int,
    replica_kills: int,
    service_kills: int,
    seed: int,
    note: Callable[[str], None] = print,
) -> Result:
    """The whole experiment in the folder `root`, which must be fresh; `running` starts the service on it."""
    started, rng = time.monotonic(), np.random.default_rng((seed, 0))
    key, signer = KeyRing(root).add("acme"), Signer(root)
    work = batches(signer, events, batch)
    everything = [item for part in work for item in part]
    kinds = rng.permutation(["replica"] * replica_kills + ["service"] * service_kills)
    moments = np.sort(rng.uniform(0.02, 0.95, len(kinds))) * len(everything)
    with running as service:
        note(f"up after {time.monotonic() - started:.0f} s; {len(everything):,} events, {len(kinds)} kills")
        clients = Clients(service, key, work, seed)
        disturb(service, clients, [(int(moment), str(kind)) for moment, kind in zip(moments, kinds, strict=True)], seed, note)
        clients.join()
        stopped_with = service.stop()
    reader = EventReader(root)
    read = [event.key for event in reader.new_events()]
    found, acknowledged = set(read), keys_of(clients.acknowledged, signer)
    assert len(read) == len(found) == read_impressions(root).num_rows + sum(key.endswith("/click") for key in found) - clicks_alone(found)
    return Result(
        events=len(everything), acknowledged=len(acknowledged), given_up=len(clients.given_up), sent_again=clients.sent_again,
        replica_kills=replica_kills, service_kills=service_kills, found=len(found), lines=lines_on_disk(root).total(),
        lost=len(acknowledged - found), foreign=len(found - keys_of(everything, signer)),
        given_up_but_kept=len(keys_of(clients.given_up, signer) & found), damaged=reader.damaged, stopped_with=stopped_with,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def clicks_alone(found: set[str]) -> int:
    """Clicks whose impression is not in the log; each proves one."""
    return sum(key.endswith("/click") and key.replace("/click", "/impression") not in found for key in found)


def main() -> int:
    """Run it and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=50, help="events in one request")
    parser.add_argument("--replica-kills", type=int, default=8)
    parser.add_argument("--service-kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="4,000 events, two replicas and the service killed once")
    parser.add_argument("--out", type=Path, default=Path("build/serve_durability.json"))
    given = parser.parse_args()
    size = (4000, 20, 2, 1) if given.quick else (given.events, given.batch, given.replica_kills, given.service_kills)
    with tempfile.TemporaryDirectory(prefix="caig-rl-durability-") as folder:
        service = ServiceProcess(Path(folder), ["serve.replicas.min_ingress=2", "serve.replicas.max_ingress=2"])
        result = measure(Path(folder), service, *size, given.seed)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({**asdict(result), "good": result.good}, indent=1) + "\n")
    print("\n".join(f"{name:>18} {value}" for name, value in asdict(result).items()))
    print(f"{'every acknowledged event is there exactly once' if result.good else 'THE PROMISE WAS BROKEN'}; wrote {given.out}")
    return 0 if result.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
