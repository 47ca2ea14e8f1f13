"""The service's own log: ids and figures, and nothing that is a secret or a customer's."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caig_rl.logs import OWN_LOGGERS
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.events.impressions import read_impression
from caig_rl.serving.log import FOLDER, service_log
from tests.serving.http.test_app import World, photo


@pytest.fixture(autouse=True)
def loggers_are_left_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in OWN_LOGGERS}
    others = {handler: handler.level for handler in root.handlers}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for handler, level in others.items():
        handler.setLevel(level)


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted((root / FOLDER).glob("*.jsonl")) for line in file.read_text().splitlines()]


def about(root: Path, request: str) -> list[dict[str, Any]]:
    return [line for line in lines(root) if line.get("request") == request]


def test_a_request_is_followed_by_its_id_and_a_refusal_says_what_was_wrong(tmp_path: Path):
    world = World(tmp_path)
    with service_log(tmp_path, "ingress", "info"):
        world.client.headers["X-Request-ID"] = "req-1"
        creatives = world.make(candidates="2", seed="5").json()["creatives"]
        world.client.headers["X-Request-ID"] = "req-2"
        world.make(title="")
        world.client.headers["X-Request-ID"] = "not an id, but a text"
        world.make(image=b"x")
    (made,) = about(tmp_path, "req-1")
    assert (made["role"], made["run"], made["tenant"], made["seed"]) == ("ingress", tmp_path.name, "acme", 5)
    assert sorted(made["creatives"]) == sorted(one["creative_id"] for one in creatives)
    assert world.maker.orders[0].request_id == "req-1"
    (refused,) = about(tmp_path, "req-2")
    assert (refused["status"], refused["code"], refused["field"]) == (422, "missing", "title")
    assert about(tmp_path, "not an id, but a text") == []
    assert sum(line.get("status") == 415 for line in lines(tmp_path)) == 1


def test_impressions_events_decisions_and_versions_are_named_by_their_ids(tmp_path: Path):
    world = World(tmp_path)
    with service_log(tmp_path, "ingress", "debug"):
        creative = world.make(candidates="1").json()["creatives"][0]["creative_id"]
        world.approve(creative)
        shown = world.choose("visitor 1").json()["impression_id"]
        world.events({"impression_id": shown, "kind": "click"}, {"impression_id": "forged", "kind": "click"})
        world.service.set_routing(Routing("v2"))
    found = lines(tmp_path)
    nonce = read_impression(shown, world.service.signer).nonce
    assert [line["creative"] for line in found if line.get("impression") == nonce] == [creative]
    assert next(line["message"] for line in found if "creative" in line) == f"approved creative {creative}"
    (taken,) = [line for line in found if "accepted" in line]
    assert (taken["accepted"], taken["refused"]) == (1, {"bad_signature": 1})
    assert found[-1]["policy_version"] == "v2"


def test_no_key_no_signature_no_visitor_and_no_text_of_a_product_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path)
    with service_log(tmp_path, "ingress", "debug"):
        creative = world.make(title="secret title", category="secret category", description="secret words", candidates="1").json()
        (made,) = creative["creatives"]
        world.approve(made["creative_id"])
        shown = world.choose("secret visitor").json()["impression_id"]
        world.events({"impression_id": shown, "kind": "impression"})
        world.client.get("/v1/creatives", headers={"Authorization": "Bearer secret-key"})
        monkeypatch.setattr(world.service.store, "image", lambda *_: 1 / 0)
        assert world.client.get(made["image_url"]).status_code == 500
    written = "\n".join(file.read_text() for file in (tmp_path / FOLDER).glob("*.jsonl"))
    assert "ZeroDivisionError" in written and "/v1/images/{token}" in written
    key, token = world.client.headers["Authorization"].removeprefix("Bearer "), made["image_url"].rpartition("/")[2]
    for secret in ("secret", "sku", key, token, shown, made["prompt"]):
        assert secret not in written, secret


def test_an_answer_that_fails_while_it_is_streamed_says_so_to_the_client_and_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path)
    monkeypatch.setattr(world.service.store, "save", lambda *_: 1 / 0)
    with service_log(tmp_path, "ingress", "info"):
        headers = {"Accept": "application/x-ndjson", "X-Request-ID": "req-3"}
        answer = world.client.post("/v1/creatives", data={"title": "mug"}, files={"image": photo()}, headers=headers)
    last = json.loads(answer.text.splitlines()[-1])
    assert last["type"] == "problem" and last["problem"]["code"] == "failed"
    assert "division" not in answer.text
    (line,) = about(tmp_path, "req-3")
    assert "ZeroDivisionError" in line["exc_info"]
