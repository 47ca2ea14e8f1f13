"""The end of a service: nobody is let in, and who is in is answered."""

import asyncio
from pathlib import Path

import httpx
import pytest

from caig_rl.serving.load.doors import Doors
from caig_rl.serving.problems import Problem
from tests.serving.http.test_app import World, photo, refusal


def test_the_doors_close_once_all_are_out_or_the_time_is_up():
    async def checked() -> None:
        doors = Doors()
        doors.enter()
        assert await doors.close(0.01) == 1
        with pytest.raises(Problem, match="being stopped"):
            doors.enter()
        closing = asyncio.create_task(doors.close(60.0))
        await asyncio.sleep(0)
        assert not closing.done()
        doors.leave()
        assert await closing == 0

    asyncio.run(checked())


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_request_under_way_is_finished_and_a_new_one_is_told_when_to_come_back(tmp_path: Path, accept: str):
    world = World(tmp_path)

    async def stopped() -> None:
        world.maker.hold = asyncio.Event()
        headers = {"Authorization": world.client.headers["Authorization"], "Accept": accept}
        transport = httpx.ASGITransport(world.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers) as client:
            asked = client.post("/v1/creatives", data={"title": "red mug", "candidates": "1"}, files={"image": photo()})
            under_way = asyncio.create_task(asked)
            while not world.maker.orders:
                await asyncio.sleep(0.01)
            closing = asyncio.create_task(world.service.doors.close(60.0))
            await asyncio.sleep(0.1)
            refused = await client.get("/healthz")
            refusal(refused, 503, "stopping")
            assert int(refused.headers["Retry-After"]) >= 1
            assert not closing.done()
            world.maker.hold.set()
            assert (await under_way).status_code == 200
            assert "a table" in under_way.result().text
            assert await closing == 0

    asyncio.run(stopped())
