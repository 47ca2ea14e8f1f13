"""Renderer and scorer behind the service, real and tiny, called as their deployments are."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from actors.serve.messages import PaintJob, ScoreJob
from actors.serve.painter import Painter
from actors.serve.scorer import Scorer
from caig_rl.config.schema import Config
from caig_rl.types import Product
from tests.serving.creatives import MUG, cutout
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


def test_a_score_that_cannot_be_computed_costs_the_others_nothing(tiny_config: Config):
    scorer = Scorer(tiny_config)
    views = tuple(random_picture(seed) for seed in range(3))

    async def both() -> list:
        return list(await asyncio.gather(scorer.score(ScoreJob(MUG, views[:2])), scorer.score(ScoreJob(Product("c", "a cup", "cups"), views[2:]))))

    (first, second), (third,) = asyncio.run(both())
    assert first.score != second.score
    assert all(0.0 < one.predicted_ctr < 1.0 for one in (first, second, third))
    alone = asyncio.run(scorer.score(ScoreJob(MUG, views[:1])))[0]
    assert alone.score == pytest.approx(first.score, abs=1e-4)
