"""What is read of a request, and what is said of one that cannot be read."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.http.test_app import World, refusal


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
