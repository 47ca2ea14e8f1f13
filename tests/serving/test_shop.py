"""The shop of `benchmarks/circle.py` and its shoppers, at the service's HTTP surface."""

import asyncio
from pathlib import Path

import httpx
import numpy as np

from benchmarks.circle import Shop, Traffic, cut_outs
from caig_rl.serving.events.click_log import read_impressions
from caig_rl.world.products import WorldProducts
from tests.serving.http.test_app import World


def test_every_shopper_sees_what_the_service_chose_and_everything_is_reported(tmp_path: Path):
    world, source = World(tmp_path, approval="rules", limits={"max_events": 1000}), WorldProducts(0, 3, "train")

    async def visits() -> tuple[set[str], Traffic]:
        transport, headers = httpx.ASGITransport(world.client.app), dict(world.client.headers)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers) as http:
            shop = Shop(http, source.products, list(cut_outs(source)))
            return await shop.order(0), await shop.open(40, 0)

    versions, traffic = asyncio.run(visits())
    assert versions == {"v1"}
    seen = read_impressions(tmp_path, "acme")
    assert seen.num_rows == 3 * 40 == len(traffic.ctr)
    assert sum(seen["clicked"].to_pylist()) == traffic.clicks
    assert set(seen["product_id"].to_pylist()) == {product.product_id for product in source.products}
    rates = traffic.by_product(3, 20)
    assert rates.shape == (3,) and np.all((rates > 0.0) & (rates < 0.3))
