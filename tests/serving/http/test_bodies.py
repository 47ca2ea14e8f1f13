"""What is read of a request, and what is said of one that cannot be read."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.http.test_app import World, photo, refusal


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)


@pytest.mark.parametrize("path", ["/v1/creatives/c1/decision", "/v1/events", "/v1/creatives"])
def test_nothing_of_a_body_is_read_without_a_key_and_no_more_than_a_route_takes_with_one(world: World, path: str):
    read = 0

    async def spaces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(300):
            read += 1
            yield b" " * 2**20

    async def send(**headers: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.client.app), base_url="http://shop") as client:
            return await client.post(path, content=spaces(), headers={"Content-Type": "application/json", **headers})

    refusal(asyncio.run(send()), 401, "missing_key", "Authorization")
    assert read == 0
    answer = asyncio.run(send(Authorization=world.client.headers["Authorization"]))
    assert (answer.status_code, answer.json()["code"], read) == (413, "body_too_large", 1)


@pytest.mark.parametrize(
    ("content", "status", "code", "field"),
    [
        (b"{", 400, "no_json", None),
        (b"[" * 4000, 400, "no_json", None),
        (b"[1]", 400, "no_object", None),
        (b"{}", 422, "missing", "approved"),
        (b'{"approved": true, "buy": 1}', 422, "extra_forbidden", "buy"),
    ],
)
def test_a_decision_that_cannot_be_read_is_a_problem(world: World, content: bytes, status: int, code: str, field: str | None):
    refusal(world.client.post("/v1/creatives/c1/decision", content=content), status, code, field)


def test_an_event_with_a_field_too_many_is_refused_as_itself_and_the_rest_is_taken(world: World):
    world.approve(world.make(candidates="1").json()["creatives"][0]["creative_id"])
    shown = {"impression_id": world.choose().json()["impression_id"], "kind": "impression"}
    body = world.client.post("/v1/events", json={"events": [shown, {**shown, "count": 50}, 7, {"kind": "click"}]}).json()
    assert (body["accepted"], body["refused"]) == (1, 3)
    assert [(one["code"], one["field"]) for one in body["results"]] == [
        ("", ""), ("unknown_field", "count"), ("no_object", "events.2"), ("missing", "impression_id"),
    ]  # fmt: skip


def test_a_form_with_two_pictures_or_a_file_where_none_belongs_is_refused_by_name(world: World):
    for files, code, field in (
        ([("image", photo()), ("image", photo())], "repeated", "image"),
        ([("image", photo()), ("logo", photo())], "wrong_value", "logo"),
        ([("title", photo())], "wrong_value", "title"),
    ):
        refusal(world.client.post("/v1/creatives", data={"category": "mugs"}, files=files), 422, code, field)


def test_what_is_too_large_is_told_in_mib_with_the_setting_that_bounds_it(world: World):
    for answer, size, key in (
        (world.make(bytes(300_000)), "269 KiB", "serve.limits.max_image_mib"),
        (world.client.post("/v1/events", content=bytes(300_000)), "204 KiB", "serve.limits.max_events (50)"),
        (world.client.post("/v1/events", content=b"", headers={"Content-Length": "9" * 5000}), "204 KiB", "serve.limits.max_events"),
    ):
        assert answer.status_code == 413
        assert size in answer.json()["detail"] and key in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "too many digits"),
        (b'"\xff"', "not in UTF-8"),
        (b"{", "no JSON"),
    ],
)
def test_json_that_cannot_be_read_is_explained_without_words_of_python(world: World, content: bytes, words: str):
    answer = world.client.post("/v1/creatives", content=content, headers={"Content-Type": "application/json"})
    refusal(answer, 400, "no_json")
    assert words in answer.json()["detail"]
    assert not any(word in answer.json()["detail"] for word in ("recursion", "sys.", "codec", "ASCII"))


def test_a_field_name_that_no_answer_could_hold_is_still_answered(world: World):
    refusal(world.client.post("/v1/events", content=b'{"\\ud800": 1}'), 422, "unknown_field", "?")


def test_a_segment_with_control_characters_is_refused(world: World):
    world.approve(world.make(candidates="1").json()["creatives"][0]["creative_id"])
    refusal(world.choose(segment="gift\x00givers"), 422, "wrong_value", "segment")
    assert world.choose(segment="gift  givers \u00e9").status_code == 200
