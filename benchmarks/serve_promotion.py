"""Promotion under load: no request fails, the switch is seen within 5 s, and no answer mixes two versions.

    python -m benchmarks.serve_promotion [--switches 3] [--clients 4] [--out build/serve_promotion.json]      # about 8 minutes
    python -m benchmarks.serve_promotion --quick                                                               # one switch, about 4
    python -m benchmarks.serve_promotion --run runs/demo                                                       # a policy that was trained

Clients ask for creatives without pause, and a shopper for what to show, while `caig-rl serve promote` and then `caig-rl serve rollback`
run as an operator runs them. Without --run the policies are the embedded one with noise on its weights, other noise each time.

The moment of a switch is when `routing.json` changes: what promotion does before (reading, verifying, comparing) decides whether there is
one at all. From then on is counted: when /healthz says so, and how long requests that begin are still answered by the old version.

That versions are not mixed is checked twice: all creatives of an answer name one version, and the prompts of answers around the switch are
those that this version, and not the other one, gives again for the same seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.http_load import product_picture
from benchmarks.promises import Promises
from benchmarks.service_process import CAIG, REPOSITORY, ServiceProcess
from caig_rl.models.folders import resolve_model_folder
from caig_rl.serving.keys import KeyRing

LATEST_S = 5.0
AROUND = 5
"""Answers before a switch, and as many after it, that are made again."""
NOISE = 0.05
PRODUCT = {"title": "light crimson mug", "category": "mug", "product_id": "benchmark"}


@dataclass(frozen=True)
class Asked:
    """One request for creatives."""

    status: int
    started: float
    """Seconds since 1970 UTC."""
    seed: int
    version: str
    named: tuple[str, ...]
    """The versions that its creatives name."""
    prompts: dict[int, str]


@dataclass(frozen=True)
class Switched:
    """One change of the live version."""

    command: str
    whole_s: float
    """From the start of the command to the answer of /healthz."""
    seen_s: float
    """From the switch to the answer of /healthz."""
    last_old_s: float
    """From the switch to the start of the last request that the old version answered; negative: before it."""


class Traffic:
    """Clients that ask for creatives without pause, and one that asks what to show. Runs inside the block."""

    def __init__(self, address: str, keys: Sequence[str], clients: int, candidates: int) -> None:
        self._address, self._keys, self._candidates, self._picture = address, keys, candidates, product_picture()
        self._health = httpx.Client(base_url=address, timeout=30.0)
        self.asked: list[Asked] = []
        self.shown: Counter[int] = Counter()
        self._stop, self._turn, self._lock = threading.Event(), 0, threading.Lock()
        self._threads = [threading.Thread(target=self._ask_on, args=(number,), daemon=True) for number in range(clients)]
        self._threads.append(threading.Thread(target=self._look_on, daemon=True))

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        self._health.close()

    def live(self) -> str:
        """The live version, as /healthz says."""
        return str(self._health.get("/healthz").raise_for_status().json()["policy_version"])

    def wait_for(self, number: int) -> None:
        """Until so many more requests were answered."""
        goal, until = len(self.asked) + number, time.monotonic() + 300
        while len(self.asked) < goal:
            if time.monotonic() > until:
                raise RuntimeError(f"no {number} answers within 300 s; the last: {self.asked[-3:]}")
            time.sleep(0.1)

    def again(self, one: Asked) -> dict[int, str]:
        """The prompts that the version that is live now gives for the same seed."""
        with self._client(0) as http:
            for _ in range(20):
                found = self._ask(http, one.seed)
                if found.status in (200, 422):
                    return found.prompts
                time.sleep(1.0)
        raise RuntimeError(f"seed {one.seed} is not answered again: {found}")

    def _client(self, number: int) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._keys[number % len(self._keys)]}"}
        return httpx.Client(base_url=self._address, headers=headers, timeout=90.0)

    def _ask_on(self, number: int) -> None:
        with self._client(number) as http:
            while not self._stop.is_set():
                with self._lock:
                    self._turn += 1
                    seed = self._turn
                found = self._ask(http, seed)
                with self._lock:
                    self.asked.append(found)

    def _ask(self, http: httpx.Client, seed: int) -> Asked:
        started, data = time.time(), PRODUCT | {"candidates": str(self._candidates), "seed": str(seed)}
        try:
            answer = http.post("/v1/creatives", data=data, files={"image": self._picture})
        except httpx.TransportError:  # no answer: a failed request
            return Asked(0, started, seed, "", (), {})
        body = {"policy_version": "", "creatives": [], "left_out": []}
        if answer.status_code in (200, 422):
            body |= answer.json()
        prompts = {one["candidate"]: one["prompt"] for part in ("creatives", "left_out") for one in body[part]}
        named = tuple(one["policy_version"] for one in body["creatives"])
        return Asked(answer.status_code, started, seed, body["policy_version"], named, prompts)

    def _look_on(self) -> None:
        with self._client(0) as http:
            for number in range(10**9):
                if self._stop.wait(0.05):
                    return
                try:
                    answer = http.get(f"/v1/products/{PRODUCT['product_id']}/creative", params={"visitor": str(number)})
                    status = answer.status_code
                except httpx.TransportError:  # no answer: a failed request
                    status = 0
                if status != 404 or self.shown[200]:  # nothing was made yet
                    self.shown[status] += 1


def nudged_run(folder: Path, seed: int) -> Path:
    """A run folder with one checkpoint: the embedded policy with noise on its weights."""
    policy = folder / f"nudged-{seed}" / "checkpoints" / "1" / "policy"
    shutil.copytree(resolve_model_folder("nano", "policy"), policy)
    draw = torch.Generator().manual_seed(seed)
    for file in sorted(policy.glob("model*.safetensors")):
        weights = load_file(file)
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                weights[name] = tensor * (1.0 + NOISE * torch.randn(tensor.shape, generator=draw).to(tensor.dtype))
        save_file(weights, file, metadata={"format": "pt"})
    digests = {f"policy/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in policy.iterdir() if path.is_file()}
    (policy.parent / "manifest.json").write_text(json.dumps({"format": 1, "files": digests}))
    return folder / f"nudged-{seed}"


def switch(traffic: Traffic, root: Path, *words: str) -> tuple[Switched, str]:
    """Run a command that changes the live version, and watch /healthz; returns what was seen, and the new version."""
    before, started, seen = traffic.live(), time.time(), 0.0
    print("$ caig-rl serve", *words, flush=True)
    command = subprocess.Popen([*CAIG, "serve", *words, "--root", str(root)], cwd=REPOSITORY)
    while command.poll() is None or not (seen or command.returncode):
        if not seen and traffic.live() != before:
            seen = time.time()
        time.sleep(0.05)
    if command.returncode:
        raise RuntimeError(f"`caig-rl serve {' '.join(words)}` ended with {command.returncode}")
    at = (root / "routing.json").stat().st_mtime
    traffic.wait_for(2 * AROUND)
    new = traffic.live()
    last_old = max((one.started for one in traffic.asked if one.version == before), default=at)
    return Switched(words[0], seen - started, seen - at, last_old - at), new


def told_apart(answers: Sequence[Asked], by_version: dict[str, list[dict[int, str]]]) -> Counter[str]:
    """Of each prompt of `answers`: whether the version that the answer names gives it again, or the other one."""
    found: Counter[str] = Counter()
    for index, one in enumerate(answers):
        own = by_version[one.version][index]
        (other,) = [prompts[index] for version, prompts in by_version.items() if version != one.version]
        for candidate, prompt in one.prompts.items():
            same, foreign = prompt == own.get(candidate), prompt == other.get(candidate)
            found["own" if same and not foreign else "either" if same else "other" if foreign else "neither"] += 1
    return found


def one_switch(traffic: Traffic, root: Path, run: str, name: str) -> tuple[list[Switched], Counter[str]]:
    """There and back."""
    traffic.wait_for(2 * AROUND)
    old = traffic.live()
    there, new = switch(traffic, root, "promote", run, "--name", name)
    good = [one for one in traffic.asked if one.status == 200]
    around = [one for one in good if one.version == old][-AROUND:] + [one for one in good if one.version == new][:AROUND]
    made = {new: [traffic.again(one) for one in around]}
    back, now = switch(traffic, root, "rollback")
    if now != old:
        raise RuntimeError(f"after the rollback {now} is live, not {old}")
    made[old] = [traffic.again(one) for one in around]
    return [there, back], told_apart(around, made)


def judge(promises: Promises, traffic: Traffic, switches: Sequence[Switched], prompts: Counter[str]) -> None:
    """Say of each promise whether it was kept."""
    statuses = Counter(one.status for one in traffic.asked)
    # 422 says that none of the candidates can be shown.
    failed = sum(number for status, number in statuses.items() if status not in (200, 422))
    failed += sum(number for status, number in traffic.shown.items() if status != 200)
    words = f"{failed} failed; creatives {dict(statuses)}, what to show {dict(traffic.shown)}"
    promises.check(f"no request fails while {len(switches)} commands switch", failed == 0, words)
    moments = {"/healthz says so": [one.seen_s for one in switches], "the old version's last": [one.last_old_s for one in switches]}
    for what, values in moments.items():
        words = f"median {np.median(values):.2f} s, longest {max(values):.2f} s"
        promises.check(f"switch seen within {LATEST_S:.0f} s ({what})", max(values) <= LATEST_S, words)
    mixed = sum(len({one.version, *one.named}) > 1 for one in traffic.asked if one.status == 200)
    promises.check("all creatives of an answer name one version", mixed == 0, f"{mixed} of {statuses[200]} answers mix")
    words = f"{dict(prompts)} of the prompts around the switches"
    promises.check("and their prompts are that version's own", prompts["other"] == 0 and prompts["own"] > 0, words)


def main() -> int:
    """Measure, say what was kept, and write the numbers down."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="RUN[@STEP] to promote; without it, the embedded policy with noise on its weights")
    parser.add_argument("--switches", type=int, default=3, help="promotions, each rolled back")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--candidates", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one switch")
    parser.add_argument("--out", type=Path, default=Path("build/serve_promotion.json"))
    given = parser.parse_args()
    switches: list[Switched] = []
    prompts: Counter[str] = Counter()
    # Noise makes a policy worse or better by chance: what is measured here is the switch, not the comparison before it.
    overrides = ["serve.approval=rules", "serve.promotion_products=6", "serve.promotion_margin=100"]
    with tempfile.TemporaryDirectory(prefix="caig-rl-promotion-") as name:
        folder, root = Path(name), Path(name) / "serving"
        keys = [KeyRing(root).add(tenant) for tenant in ("acme", "other")]
        with ServiceProcess(root, overrides) as service:
            with Traffic(service.address, keys, given.clients, given.candidates) as traffic:
                for number in range(1 if given.quick else given.switches):
                    run = given.run or str(nudged_run(folder, number))
                    found, told = one_switch(traffic, root, run, f"v{number + 1}")
                    switches += found
                    prompts += told
            stopped_with = service.stop()
    promises = Promises()
    judge(promises, traffic, switches, prompts)
    promises.check("SIGTERM ends the service in good order", stopped_with == 0, f"exit code {stopped_with}")
    back = [one.whole_s for one in switches if one.command == "rollback"]
    print(f"a rollback, from the start of its command on: median {np.median(back):.1f} s, longest {max(back):.1f} s")
    content: dict[str, Any] = {"promises": promises.verdicts, "switches": [asdict(one) for one in switches], "prompts": prompts}
    content |= {"requests": Counter(one.status for one in traffic.asked), "shown": traffic.shown}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {given.out}")
    return promises.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
