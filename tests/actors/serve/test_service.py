"""The service on a real Ray cluster, with real vLLM, diffusers and a reward model, all tiny and random."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import ray
from PIL import Image
from ray.serve.context import _get_global_client

from actors.serve.deployment_plan import NAME
from actors.serve.lifecycle import serving
from actors.serve.promotion import promote
from actors.serve.version_switch import rollback
from caig_rl.config.schema import Config
from caig_rl.data.catalog import load_catalog
from caig_rl.errors import UserError
from caig_rl.interfaces import ProductSource
from caig_rl.learning.engine import free_port
from caig_rl.serving.events.event_log import EventReader
from caig_rl.serving.events.impressions import read_impression
from caig_rl.serving.events.signing import Signer
from caig_rl.serving.keys import KeyRing
from tests.serving.http.test_app import photo
from tests.tiny import make_tiny_policy

pytestmark = pytest.mark.slow


class Running:
    """A running service and a client of it."""

    def __init__(self, config: Config, root: Path) -> None:
        self.config, self.root = config, root
        self.address = f"http://{config.serve.host}:{config.serve.port}"
        self.headers = {"Authorization": f"Bearer {KeyRing(root).add('acme')}"}

    def make(self, **fields: Any) -> httpx.Response:
        data = {"title": "red mug", "category": "mugs", "product_id": "mug", "candidates": "2", **fields}
        return httpx.post(f"{self.address}/v1/creatives", data=data, files={"image": photo()}, headers=self.headers, timeout=90)

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.address}{path}", json=body, headers=self.headers, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", headers=self.headers, timeout=30)

    def pixels(self, creative: dict[str, Any]) -> np.ndarray:
        """(height, width, 3) of a creative, as floats."""
        content = httpx.get(self.address + creative["image_url"], timeout=30).content
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float64)

    def replicas(self, deployment: str) -> list[int]:
        """Process ids of a deployment's replicas."""
        # Of this service alone: another Ray cluster on this machine may serve too.
        details = ray.get(_get_global_client()._controller.get_serve_instance_details.remote())
        replicas = details["applications"][NAME]["deployments"][deployment]["replicas"]
        return [one["pid"] for one in replicas if one["state"] == "RUNNING"]


@pytest.fixture(scope="module")
def service(cluster: None, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("serving")
    # A minute for a request: how fast this machine is, is not what is tested.
    limits = {"max_concurrent": 4, "max_concurrent_per_tenant": 4, "max_candidates": 4, "request_timeout_s": 60}
    section = {
        "root": str(root),
        "port": free_port(),
        "approval": "rules",
        "limits": limits,
        "promotion_products": 4,
        "promotion_margin": 10.0,
    }
    config = Config.model_validate({**tiny_config.model_dump(mode="json"), "serve": section})
    with serving(config):
        yield Running(config, root)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> ProductSource:
    folder = tmp_path_factory.mktemp("products")
    for number in range(4):
        (folder / f"product-{number}.png").write_bytes(photo(100 + 10 * number))
    return load_catalog(Config.model_validate({"catalog": {"path": str(folder)}}).catalog, 128)


def a_run(folder: Path, seed: int) -> Path:
    """A run folder whose one checkpoint exports a policy with other weights."""
    checkpoint = folder / f"run{seed}" / "checkpoints" / "3"
    make_tiny_policy(checkpoint / "policy", seed)
    files = {f"policy/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in (checkpoint / "policy").iterdir()}
    (checkpoint / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    return folder / f"run{seed}"


def test_a_request_is_answered_with_ranked_creatives_and_the_same_seed_gives_them_again(service: Running):
    first, second = (service.make(seed="5").json() for _ in range(2))
    assert len(first["creatives"]) == 2, first
    again = {one["candidate"]: one for one in second["creatives"]}
    for one in first["creatives"]:
        other = again[one["candidate"]]
        assert one["prompt"] == other["prompt"]
        # Whoever is painted beside it changes the last bits: Serve makes batches of what comes together.
        assert one["score"] == pytest.approx(other["score"], abs=0.01)
        gap = np.abs(service.pixels(one) - service.pixels(other))
        assert gap.mean() < 1.0
    assert first["creatives"][0]["score"] >= first["creatives"][1]["score"]
    assert first["policy_version"] == "base"
    assert service.make(seed="6").json()["creatives"][0]["prompt"] != first["creatives"][0]["prompt"]


def test_a_title_with_a_control_token_is_refused_and_costs_nobody_else(service: Running):
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda title: service.make(title=title), ["mug", "mug <image>", "cup"]))
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert answers[1].json()["field"] == "title"


def test_a_stream_arrives_in_parts(service: Running):
    headers = {**service.headers, "Accept": "application/x-ndjson"}
    data = {"title": "red mug", "candidates": "3"}
    url = f"{service.address}/v1/creatives"
    with httpx.stream("POST", url, data=data, files={"image": photo()}, headers=headers, timeout=90) as answer:
        lines = [json.loads(line)["type"] for line in answer.iter_lines()]
    assert lines[0] == "start" and lines[-1] == "end" and len(lines) == 5


def test_a_request_is_followed_by_its_id_through_the_log_of_every_replica(service: Running):
    answer = service.make(title="a title that no log may hold")
    request = answer.headers["x-request-id"]
    found: dict[str, list[dict[str, Any]]] = {}
    for file in (service.root / "logs").glob("*.jsonl"):
        assert "no log may hold" not in file.read_text()
        for line in map(json.loads, file.read_text().splitlines()):
            if request == line.get("request") or request in line.get("requests", []):
                found.setdefault(line["role"], []).append(line)
    assert {role: len(lines) for role, lines in found.items()} == {"ingress": 1, "policy": 1, "renderer": 1, "scorer": 1}
    assert sorted(found["ingress"][0]["creatives"]) == sorted(one["creative_id"] for one in answer.json()["creatives"])
    assert all(line["replica"] and line["run"] == service.root.name for lines in found.values() for line in lines)


def test_overload_is_refused_at_once_and_never_a_500(service: Running):
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: service.make(), range(24)))
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) <= {200, 503, 429} and codes[200] >= 4 and codes[200] < 24, codes
    for answer in answers:
        if answer.status_code != 200:
            assert answer.json()["code"] in ("busy", "too_many")
            assert int(answer.headers["Retry-After"]) >= 1


def test_promotion_under_load_fails_no_request_restarts_nothing_and_never_mixes_versions(
    service: Running, held_out: ProductSource, tmp_path: Path
):
    run = a_run(tmp_path, 11)
    before = {name: service.replicas(name) for name in ("Ingress", "Policy", "Painter", "Scorer")}
    assert all(len(pids) == 1 for pids in before.values())
    stop, answers = threading.Event(), []

    def load() -> None:
        while not stop.is_set():
            answers.append(service.make(seed=str(len(answers)), candidates="3"))

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        switch = promote(service.root, str(run), None, 1.0, lambda _: held_out, lambda text: None)
        assert service.get("/healthz").json()["policy_version"] == "run11-3" == switch.routing.live
        seen = len(answers)
        _until(lambda: len(answers) >= seen + 6)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        assert {one["policy_version"] for one in answer.json()["creatives"]} == {answer.json()["policy_version"]}
    versions = [answer.json()["policy_version"] for answer in answers]
    assert set(versions) == {"base", "run11-3"}
    assert versions[-1] == "run11-3"
    assert {name: service.replicas(name) for name in before} == before
    assert switch.comparison.products >= 2

    back = rollback(service.root)
    assert back.routing.live == "base" == service.make().json()["policy_version"]


def test_a_version_on_trial_makes_creatives_for_its_arm_and_is_shown_to_its_visitors_only(
    service: Running, held_out: ProductSource, tmp_path: Path
):
    promote(service.root, f"{a_run(tmp_path, 12)}@3", "trial", 0.5, lambda _: held_out, lambda text: None)
    try:
        old = service.make(product_id="p").json()
        new = service.make(product_id="p", arm="candidate").json()
        assert (old["policy_version"], new["policy_version"]) == ("base", "trial")
        time.sleep(1.0)
        shown = {str(v): service.get(f"/v1/products/p/creative?visitor={v}").json()["policy_version"] for v in range(30)}
        assert set(shown.values()) == {"base", "trial"}
        assert shown == {str(v): service.get(f"/v1/products/p/creative?visitor={v}").json()["policy_version"] for v in range(30)}
    finally:
        rollback(service.root)
    assert service.make(arm="candidate").json()["field"] == "arm"


def test_a_checkpoint_that_is_damaged_or_missing_is_not_promoted(service: Running, held_out: ProductSource, tmp_path: Path):
    run = a_run(tmp_path, 13)
    with pytest.raises(UserError, match="no complete checkpoint"):
        promote(service.root, f"{run}@9", None, 1.0, lambda _: held_out, lambda text: None)
    weights = run / "checkpoints" / "3" / "policy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(UserError, match="damaged"):
        promote(service.root, str(run), None, 1.0, lambda _: held_out, lambda text: None)
    assert service.get("/healthz").json()["policy_version"] == "base"


def test_weights_that_changed_after_they_were_taken_in_do_not_verify(service: Running, held_out: ProductSource, tmp_path: Path):
    run = a_run(tmp_path, 14)
    promote(service.root, str(run), "kept", 0.1, lambda _: held_out, lambda text: None)
    rollback(service.root)
    service.make()  # the engine holds the base version again
    (service.root / "versions" / "kept" / "policy" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not those that were taken in"):
        promote(service.root, str(run), "kept", 1.0, lambda _: held_out, lambda text: None)
    assert service.make().json()["policy_version"] == "base"


def test_every_acknowledged_event_survives_a_kill_of_the_ingress(service: Running):
    service.make(product_id="loved")
    time.sleep(1.0)  # until the chooser's counts and shelves are read again
    shown = [service.get(f"/v1/products/loved/creative?visitor={v}").json()["impression_id"] for v in range(40)]
    (killed,) = service.replicas("Ingress")
    acknowledged: list[str] = []
    replaced = threading.Event()

    def send(part: list[str]) -> None:
        # Again and again until there is a new replica: so the kill finds requests under way.
        turn = 0
        while not replaced.is_set():
            impression_id, kind = part[turn % len(part)], ("impression", "click")[turn // len(part) % 2]
            try:
                answer = service.post("/v1/events", {"events": [{"impression_id": impression_id, "kind": kind}]})
            except httpx.TransportError:  # the replica was killed
                time.sleep(0.2)
                continue
            if answer.status_code == 200 and answer.json()["accepted"] == 1:
                acknowledged.append(f"{read_impression(impression_id, signer).nonce}/{kind}")
                turn += 1
            else:
                time.sleep(0.2)

    signer = Signer(service.root)
    senders = [threading.Thread(target=send, args=(shown[start::2],)) for start in range(2)]
    for sender in senders:
        sender.start()
    try:
        _until(lambda: len(acknowledged) > 10)
        os.kill(killed, signal.SIGKILL)
        # Serve goes on listing the dead process until its next health check.
        _until(lambda: bool(service.replicas("Ingress")) and killed not in service.replicas("Ingress"))
    finally:
        replaced.set()
        for sender in senders:
            sender.join()
    answer = service.post("/v1/events", {"events": [{"impression_id": one, "kind": "click"} for one in shown]})
    assert answer.json()["accepted"] == 40
    acknowledged += [f"{read_impression(one, signer).nonce}/click" for one in shown]
    reader = EventReader(service.root)
    found = [event.key for event in reader.new_events()]
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found)) <= 80
    assert reader.damaged == 0
    assert len(list((service.root / "events").glob("*.log"))) == 2, "each process writes a file of its own"


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
