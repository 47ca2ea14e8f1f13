"""Renderer and scorer behind the service, real and tiny, called as their deployments are."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image
from ray import serve
from ray.serve.handle import DeploymentHandle

from actors.serve.creative_maker import RayMaker
from actors.serve.messages import PaintJob, PromptJob, Prompts, ScoreJob
from actors.serve.painter import Painter
from actors.serve.scorer import Scorer
from caig_rl.config.schema import Config
from caig_rl.serving.creatives.maker_interface import Made, Order
from caig_rl.types import Product
from tests.serving.made_creatives import MUG, cutout
from tests.tiny import random_picture


@pytest.fixture(scope="module")
def painter(tiny_config: Config) -> Painter:
    return Painter(tiny_config, 64)


def test_orders_that_wait_together_are_painted_together_and_each_gets_its_own_back(painter: Painter):
    jobs = [PaintJob(cutout(), ("a table", "marble"), 5, "a"), PaintJob(cutout(), ("fresh fruit",), 6, "b")]

    async def both() -> list:
        return list(await asyncio.gather(*(painter.paint(job) for job in jobs)))

    (table, marble), (fruit,) = asyncio.run(both())
    alone = asyncio.run(painter.paint(jobs[1]))[0]
    assert [one.view.shape for one in (table, marble, fruit)] == [(64, 64, 3)] * 3
    # A batch changes the last bits.
    assert np.abs(fruit.view.astype(int) - alone.view).max() <= 2
    assert np.abs(table.view.astype(int) - marble.view).max() > 2
    assert all(bool(one.png) is not bool(one.left_out) for one in (table, marble, fruit))
    for one in (table, marble, fruit):
        if one.png:
            assert Image.open(io.BytesIO(one.png)).size == (128, 128)


def test_creatives_of_two_orders_are_scored_together_and_each_order_gets_its_own_back(tiny_config: Config):
    scorer = Scorer(tiny_config)
    views = tuple(random_picture(seed) for seed in range(3))

    jobs = [ScoreJob(MUG, views[:2]), ScoreJob(Product("c", "a cup", "cups"), views[2:])]

    async def both() -> list:
        return list(await asyncio.gather(*(scorer.score(job) for job in jobs)))

    (first, second), (third,) = asyncio.run(both())
    assert first.score != second.score
    assert all(0.0 < one.predicted_ctr < 1.0 for one in (first, second, third))
    alone = asyncio.run(scorer.score(ScoreJob(MUG, views[:1])))[0]
    assert alone.score == pytest.approx(first.score, abs=1e-4)


def test_an_order_goes_through_serves_own_handles(tiny_config: Config):
    @serve.deployment
    class Writer:
        async def prompts(self, version: str, job: PromptJob) -> Prompts:
            return Prompts(tuple(f"{version} table {k}" for k in range(job.num)))

    @serve.deployment
    class Root:
        def __init__(self, policy: DeploymentHandle, painter: DeploymentHandle, scorer: DeploymentHandle) -> None:
            self._maker = RayMaker(policy, painter, scorer, tiny_config, "models")

        async def make(self, order: Order) -> list[Made]:
            return [made async for made in self._maker.make(order)]

    painter, scorer = serve.deployment(Painter).bind(tiny_config, 64), serve.deployment(Scorer).bind(tiny_config)
    # In this process: how Serve hands jobs and answers on, without a cluster.
    handle = serve.run(Root.bind(Writer.bind(), painter, scorer), _local_testing_mode=True)
    found = {one.candidate: one for one in handle.make.remote(Order(MUG, cutout(), 3, 7, "v1")).result()}
    assert [found[k].prompt for k in range(3)] == [f"v1 table {k}" for k in range(3)]
    assert all(bool(one.png) is not bool(one.left_out) for one in found.values())
