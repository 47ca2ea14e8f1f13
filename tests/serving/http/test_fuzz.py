"""Whatever a client sends, the service answers, and never with a 5xx: the models behind it are fine here."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.http.test_app import World, photo

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TEXT = st.text(max_size=40)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield World(tmp_path_factory.mktemp("fuzz"), approval="rules")


def answered(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


@FUZZ
@given(st.dictionaries(st.sampled_from(["title", "category", "description", "product_id", "candidates", "seed", "arm"]), TEXT))
def test_any_form(world: World, fields: dict[str, str]):
    answered(world.client.post("/v1/creatives", data=fields, files={"image": ("x", photo(48))}))


@FUZZ
@given(st.binary(max_size=300), st.sampled_from(["head", "middle", "whole"]))
def test_any_image(world: World, noise: bytes, where: str):
    good = photo(48)
    data = {"head": good[:60] + noise, "middle": good[:30] + noise + good[60:], "whole": noise}[where]
    answered(world.make(data))


@FUZZ
@given(JSON, st.sampled_from(["/v1/creatives", "/v1/events", "/v1/creatives/c1/decision"]))
def test_any_json(world: World, body: Any, path: str):
    answered(world.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"}))


@FUZZ
@given(st.lists(st.fixed_dictionaries({}, optional={"impression_id": JSON, "kind": JSON | st.just("click"), "time": JSON}), max_size=5))
def test_any_events(world: World, events: list[dict[str, Any]]):
    answered(world.client.post("/v1/events", content=json.dumps({"events": events})))


@FUZZ
@given(TEXT, TEXT, TEXT, TEXT)
def test_any_address(world: World, one: str, visitor: str, segment: str, position: str):
    place = quote(one, safe="")
    params = {"visitor": visitor, "segment": segment, "position": position}
    answered(world.client.get(f"/v1/products/{place}/creative", params=params))
    answered(world.client.get(f"/v1/products/{place}/creative", params={"visitor": "v"}))
    for path in (f"/v1/creatives/{place}", f"/v1/images/{place}", f"/{place}"):
        answered(world.client.get(path))
    answered(world.client.get("/v1/creatives", params={"status": one, "limit": position, "product_id": visitor}))


def test_a_header_that_is_no_key_is_answered(world: World):
    for value in (b"Bearer \xff\xfe", b"Bearer", b"\xc3\xa9", b"Bearer " + b"x" * 5000):
        assert world.client.get("/v1/creatives", headers={"Authorization": value}).status_code == 401
