"""The HTTP surface over a fake maker: answers, refusals, and the way of a creative from upload to click."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from caig_rl.config.schema import Config
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.events.click_log import click_log, read_impressions
from caig_rl.serving.http.app import create_app
from caig_rl.serving.problems import Problem
from caig_rl.serving.service import Service
from tests.serving.fake_maker import PNG, FakeMaker


class World:
    """A service with a fake maker, a client with a key, and a clock that the test turns."""

    def __init__(self, root: Path, **serve: Any) -> None:
        self.root, self.now = root, 10_000.0
        limits = {"max_candidates": 4, "max_events": 50, "max_image_mib": 0.2, **serve.pop("limits", {})}
        self.config = Config.model_validate({"imaging": {"size": 64}, "serve": {"root": str(root), "limits": limits, **serve}})
        self.maker = FakeMaker()
        self.service = Service(self.config, self.maker, Routing("v1", previous=("base",)), clock=lambda: self.now)
        self.client = TestClient(create_app(self.service), raise_server_exceptions=False)
        self.client.headers["Authorization"] = f"Bearer {self.service.keys.add('acme')}"

    def make(self, image: bytes | None = None, **fields: Any) -> Any:
        data = {"title": "red mug", "category": "mugs", "product_id": "sku/7 é", **fields}
        return self.client.post("/v1/creatives", data=data, files={"image": ("mug.png", photo() if image is None else image)})

    def approve(self, creative_id: str, approved: bool = True) -> Any:
        return self.client.post(f"/v1/creatives/{creative_id}/decision", json={"approved": approved, "by": "Ann"})

    def choose(self, visitor: str = "v", product_id: str = "sku%2F7%20%C3%A9", **params: Any) -> Any:
        return self.client.get(f"/v1/products/{product_id}/creative", params={"visitor": visitor, **params})

    def events(self, *items: dict[str, Any]) -> Any:
        return self.client.post("/v1/events", json={"events": list(items)})


def photo(size: int = 120) -> bytes:
    picture = np.full((size, size, 3), 250, np.uint8)
    picture[size // 4 : -size // 4, size // 3 : -size // 3] = (160, 20, 40)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)


def refusal(answer: Any, status: int, code: str, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["code"], document.get("field")) == (status, code, field)
    assert document["detail"] and document["type"]


def test_creatives_come_ranked_with_all_that_is_needed_to_make_them_again(world: World):
    answer = world.make(candidates="3", seed="7")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [one["score"] for one in body["creatives"]] == [0.2, 0.1, 0.0]
    assert body["policy_version"] == "v1" and body["seed"] == 7 and body["product_id"] == "sku/7 é"
    best = body["creatives"][0]
    assert (best["prompt"], best["candidate"], best["seed"], best["models"]) == ("a wall", 2, 7, "fake")
    (order,) = world.maker.orders
    assert (order.seed, order.version, order.product.title, order.candidates) == (7, "v1", "red mug", 3)
    bare = TestClient(world.client.app)
    assert bare.get(best["image_url"]).content == PNG


def test_json_with_base64_is_taken_like_a_form_and_a_data_url_too(world: World):
    for prefix in ("", "data:image/png;base64,"):
        body = {"title": "red mug", "image": prefix + base64.b64encode(photo()).decode(), "candidates": 2}
        answer = world.client.post("/v1/creatives", json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["creatives"]) == 2
        assert answer.json()["product_id"].startswith("p-")


def test_a_stream_says_each_creative_as_it_comes_and_ends_with_the_ranking(world: World):
    world.maker.left_out = {1: "blank"}
    world.client.headers["Accept"] = "application/x-ndjson"
    lines = [json.loads(line) for line in world.make(candidates="3").text.splitlines()]
    assert [line["type"] for line in lines] == ["start", "creative", "left_out", "creative", "end"]
    assert lines[-1]["ranking"] == [lines[3]["creative"]["creative_id"], lines[1]["creative"]["creative_id"]]


def test_a_stream_that_fails_later_ends_with_the_problem_and_one_that_is_refused_has_its_status(world: World):
    world.client.headers["Accept"] = "application/x-ndjson"
    world.maker.problem = Problem(503, "busy", "the renderer is busy", retry_after=2)
    lines = [json.loads(line) for line in world.make().text.splitlines()]
    assert [line["type"] for line in lines] == ["start", "problem"]
    assert (lines[-1]["retry_after"], lines[-1]["ranking"]) == (2, [])
    world.maker.fails_after = 2
    lines = [json.loads(line) for line in world.make().text.splitlines()]
    assert [line["type"] for line in lines] == ["start", "creative", "creative", "problem"]
    assert lines[-1]["ranking"] == [lines[2]["creative"]["creative_id"], lines[1]["creative"]["creative_id"]]
    world.maker.problem, world.maker.left_out = None, {0: "blank"}
    lines = [json.loads(line) for line in world.make(candidates="1").text.splitlines()]
    assert (lines[-1]["problem"]["code"], lines[-1]["retry_after"]) == ("nothing_usable", None)
    refusal(world.make(b"no image"), 415, "image_unreadable", "image")


def test_a_candidate_that_cannot_be_shown_is_left_out_and_none_at_all_is_a_problem(world: World):
    world.maker.left_out = {0: "blank"}
    body = world.make(candidates="2").json()
    assert body["left_out"] == [{"candidate": 0, "prompt": "a table", "reason": "blank"}]
    assert len(body["creatives"]) == 1
    world.maker.left_out = {0: "blank", 1: "product_changed"}
    answer = world.make(candidates="2", seed="7")
    refusal(answer, 422, "nothing_usable")
    reasons = [(one["candidate"], one["reason"]) for one in answer.json()["left_out"]]
    assert (answer.json()["seed"], reasons) == (7, [(0, "blank"), (1, "product_changed")])
    assert "another seed, more candidates, or a cleaner cut-out" in answer.json()["detail"]
    world.maker.left_out = {0: "blank", 1: "not_scored"}
    answer = world.make(candidates="2", seed="7")
    refusal(answer, 502, "model_failed")
    assert [one["reason"] for one in answer.json()["left_out"]] == ["blank", "not_scored"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"candidates": "-1"}, "out_of_range", "candidates"),
        ({"candidates": "5"}, "out_of_range", "candidates"),
        ({"candidates": "many"}, "int_parsing", "candidates"),
        ({"title": ""}, "missing", "title"),
        ({"title": "x" * 301}, "too_long", "title"),
        ({"category": "x" * 81}, "too_long", "category"),
        ({"product_id": "a\nb"}, "wrong_value", "product_id"),
        ({"product_id": ".."}, "wrong_value", "product_id"),
        ({"product_id": "a/./b"}, "wrong_value", "product_id"),
        ({"title": ["red mug", "blue mug"]}, "repeated", "title"),
        ({"seed": "-1"}, "greater_than_equal", "seed"),
        ({"colour": "red"}, "extra_forbidden", "colour"),
        ({"arm": "candidate"}, "unknown_arm", "arm"),
        ({"image": b"%PDF"}, "image_unreadable", "image"),
    ],
)
def test_a_wrong_field_is_named(world: World, fields: dict[str, Any], code: str, field: str):
    refusal(world.make(**fields), 415 if code == "image_unreadable" else 422, code, field)
    assert world.maker.orders == []


def test_too_much_is_refused_before_it_is_read(world: World):
    refusal(world.make(bytes(300_000)), 413, "body_too_large", "image")
    chunks = iter([bytes(200_000)] * 3)
    answer = world.client.post("/v1/creatives", content=chunks, headers={"Content-Type": "application/json"})
    refusal(answer, 413, "body_too_large", "image")
    refusal(world.client.post("/v1/events", content=bytes(300_000)), 413, "body_too_large", "events")


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"title": 1, "image": "x"}', "application/json", 422),
        (b'{"title": "mug", "image": "*"}', "application/json", 422),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=y", 400),
        (b"--y--\r\n", "multipart/form-data; boundary=y", 422),
        (b"x", "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_and_never_a_500(world: World, content: bytes, kind: str, status: int):
    answer = world.client.post("/v1/creatives", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/creatives"), ("GET", "/v1/creatives"), ("GET", "/v1/creatives/c1"), ("GET", "/v1/report"),
        ("POST", "/v1/creatives/c1/decision"), ("GET", "/v1/products/p/creative?visitor=v"), ("POST", "/v1/events"),
    ],
)  # fmt: skip
def test_nothing_is_answered_without_a_key(world: World, method: str, path: str):
    bare = TestClient(world.client.app)
    json = {"approved": True} if "decision" in path else None
    refusal(bare.request(method, path, json=json), 401, "missing_key", "Authorization")
    refusal(bare.request(method, path, json=json, headers={"Authorization": "Bearer x"}), 401, "wrong_key", "Authorization")


def test_another_tenant_reaches_nothing_and_a_forged_image_address_opens_nothing(world: World):
    creative = world.make().json()["creatives"][0]
    world.approve(creative["creative_id"])
    other = TestClient(world.client.app, headers={"Authorization": f"Bearer {world.service.keys.add('other')}"})
    refusal(other.get(f"/v1/creatives/{creative['creative_id']}"), 404, "unknown_creative", "creative_id")
    assert other.get("/v1/creatives").json()["total"] == 0
    refusal(other.get("/v1/products/sku%2F7%20%C3%A9/creative?visitor=v"), 404, "unknown_product", "product_id")
    token = creative["image_url"].rpartition("/")[2]
    refusal(other.get(f"/v1/images/{token[:-2]}xx"), 404, "unknown_image", "token")
    shown = world.choose().json()["impression_id"]
    answer = other.post("/v1/events", json={"events": [{"impression_id": shown, "kind": "click"}]}).json()
    assert answer["results"][0]["code"] == "bad_signature"


def test_from_upload_to_click_and_into_the_log_that_training_reads(world: World):
    creatives = world.make(candidates="2").json()["creatives"]
    refusal(world.choose(), 404, "nothing_approved", "product_id")
    assert world.client.get("/v1/creatives?status=pending").json()["total"] == 2
    best = creatives[0]["creative_id"]
    assert world.approve(best).json()["status"] == "approved"
    chosen = world.choose("visitor 1", segment="gift givers", position=2).json()
    assert (chosen["creative_id"], chosen["propensity"], chosen["policy_version"]) == (best, 1.0, "v1")
    world.now += 2.0
    shown = {"impression_id": chosen["impression_id"], "kind": "impression"}
    answer = world.events(
        shown, {**shown, "kind": "click"}, {**shown, "impression_id": "forged"}, {**shown, "time": world.now + 500}
    ).json()
    assert [one["status"] for one in answer["results"]] == ["accepted", "accepted", "refused", "refused"]
    assert [one["code"] for one in answer["results"][2:]] == ["bad_signature", "from_the_future"]
    world.events(shown, {**shown, "kind": "click"})
    (logged,) = click_log(read_impressions(world.root, "acme"), world.service.store).to_pylist()
    assert (world.root / logged.pop("image")).read_bytes() == PNG
    assert logged.pop("test_id").startswith("sku/7 é ")
    assert logged == {
        "creative_id": best, "product_id": "sku/7 é", "segment": "gift givers", "position": 2, "propensity": 1.0, "impressions": 1,
        "clicks": 1, "title": "red mug", "category": "mugs", "description": "",
    }  # fmt: skip
    world.now += 2.0
    (row,) = world.client.get("/v1/report").json()["rows"]
    assert (row["creative"]["creative_id"], row["impressions"], row["clicks"], row["ctr"]) == (best, 1, 1, 1.0)
    assert row["low"] < 1.0 == row["high"]


def test_what_a_rule_refuses_is_neither_shown_nor_approved_by_a_person(tmp_path: Path):
    world = World(tmp_path, banned_words="beach", approval="rules")
    creatives = {one["prompt"]: one for one in world.make(candidates="2").json()["creatives"]}
    assert creatives["a table"]["status"] == "approved"
    assert creatives["a beach"]["status"] == "refused" and "beach" in creatives["a beach"]["objection"]
    refusal(world.approve(creatives["a beach"]["creative_id"]), 409, "refused_by_rule", "creative_id")
    assert {world.choose(f"v{n}").json()["creative_id"] for n in range(20)} == {creatives["a table"]["creative_id"]}


def test_a_rejected_creative_is_shown_no_more(world: World):
    best = world.make(candidates="1").json()["creatives"][0]["creative_id"]
    world.approve(best)
    assert world.choose().status_code == 200
    world.approve(best, approved=False)
    refusal(world.choose(), 404, "nothing_approved", "product_id")


def test_an_arm_is_shown_its_own_version_and_a_product_without_any_an_older_one(world: World):
    old = world.make(candidates="1").json()["creatives"][0]["creative_id"]
    world.approve(old)
    world.service.set_routing(Routing("v1", "v2", 0.5))
    new = world.make(candidates="1", arm="candidate").json()["creatives"][0]
    assert new["policy_version"] == "v2"
    before = {visitor: world.choose(visitor).json()["policy_version"] for visitor in map(str, range(40))}
    assert set(before.values()) == {"v1"}
    world.approve(new["creative_id"])
    after = {visitor: world.choose(visitor).json()["policy_version"] for visitor in map(str, range(40))}
    assert {visitor for visitor, version in after.items() if version == "v2"} == {
        visitor for visitor in after if world.service.routing.arm_of(visitor)[0] == "candidate"
    }
    assert set(after.values()) == {"v1", "v2"}


def test_events_that_are_no_events_are_refused_as_a_whole(world: World):
    for body, code in (
        ({"events": 3}, "wrong_value"),
        ([], "wrong_value"),
        ({"events": [{}] * 51}, "too_many"),
    ):
        refusal(world.client.post("/v1/events", json=body), 422, code, "events")
    refusal(world.client.post("/v1/events", json={"events": [], "evnets": []}), 422, "unknown_field", "evnets")
    assert world.events().json() == {"accepted": 0, "refused": 0, "results": []}


def test_events_that_cannot_be_made_durable_are_not_acknowledged(world: World, monkeypatch: pytest.MonkeyPatch):
    chosen_from = world.make(candidates="1").json()["creatives"][0]["creative_id"]
    world.approve(chosen_from)
    event = {"impression_id": world.choose().json()["impression_id"], "kind": "impression"}

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("caig_rl.serving.events.event_log.os.fsync", full_disk)
    answer = world.events(event)
    refusal(answer, 503, "not_durable")
    assert "Retry-After" in answer.headers
    monkeypatch.undo()
    assert world.events(event).json()["accepted"] == 1


def test_a_fault_inside_is_a_500_without_its_details(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world.service.store, "all", lambda tenant: 1 / 0)
    answer = world.client.get("/v1/creatives")
    refusal(answer, 500, "failed")
    assert "division" not in answer.text


def test_health_the_page_and_the_api_document_need_no_key(world: World):
    bare = TestClient(world.client.app)
    assert bare.get("/healthz").json() == {"status": "ok", "policy_version": "v1", "candidate": None, "traffic": 0.0}
    for path in ("/", "/studio.css", "/studio.js"):
        answer = bare.get(path)
        assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    document = bare.get("/openapi.json").json()
    assert {"multipart/form-data", "application/json"} == set(document["paths"]["/v1/creatives"]["post"]["requestBody"]["content"])
    refusal(bare.get("/nothing"), 404, "no_route")
    wrong = bare.delete("/v1/creatives")
    refusal(wrong, 405, "wrong_method")
    assert wrong.headers["Allow"] == "GET, POST" and "only GET, POST" in wrong.json()["detail"]
