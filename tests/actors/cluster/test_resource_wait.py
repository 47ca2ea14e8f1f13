"""A wait that is spoken of."""

import asyncio

import pytest

from actors.cluster.resource_wait import wait_with_notes


def test_an_answer_that_takes_long_is_spoken_of_and_comes_through():
    said: list[str] = []
    arrived = asyncio.Event()

    def note(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            arrived.set()

    async def answer() -> str:
        await arrived.wait()
        return "products"

    found = asyncio.run(wait_with_notes(answer(), "the products of shard 0-7", 0.01, note, lambda: "the cluster has 2 CPUs (0 free)"))
    assert found == "products"
    assert len(said) >= 2 and said[0].endswith("for the products of shard 0-7; the cluster has 2 CPUs (0 free)")


def test_what_an_awaited_answer_raises_is_raised():
    async def answer() -> str:
        raise ValueError("no such product")

    with pytest.raises(ValueError, match="no such product"):
        asyncio.run(wait_with_notes(answer(), "it", 60, print, lambda: ""))
