"""What one request for creatives costs without Ray and without HTTP: the same service object over the same models, in one process.

    python -m benchmarks.bare_pipeline --root FOLDER [--candidates 4] [--requests 40]       # prints the seconds of each, as JSON

`benchmarks/serve_load.py` runs it before it starts the service, and compares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import torch

from benchmarks.http_load import product_picture
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.data.instructions import Task, instruction
from caig_rl.imaging.views import judge_view, policy_view
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import Renderer
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.models.vllm_engine import PolicyEngine
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.creatives.maker_interface import Made, Order
from caig_rl.serving.creatives.store import encode_png
from caig_rl.serving.creatives.uploads import checked_cutout
from caig_rl.serving.service import CreativeRequest, Service, Started
from caig_rl.types import Product

WARM_UP = 2


class LocalMaker:
    """A `CreativeMaker` that calls the models, one after the other, each in one batch."""

    models = "bare"

    def __init__(self, config: Config) -> None:
        pools = config.pools
        self._side = config.policy.image_size
        self._policy = PolicyEngine(resolve_model_folder(config.policy.model, "policy"), config.policy, pools.policy.threads)
        folder = resolve_model_folder(config.renderer.model, "renderer")
        self._renderer = Renderer(folder, config.renderer, config.imaging, pools.renderer.threads)
        self._scorer = RewardScorer.load(resolve_model_folder(config.reward.model, "reward"), getattr(torch, config.reward.dtype))

    async def make(self, order: Order) -> AsyncIterator[Made]:
        """See `CreativeMaker.make`."""
        for made in await asyncio.to_thread(self._make, order):
            yield made

    def _make(self, order: Order) -> list[Made]:
        text = instruction(Task.PROMPT_GENERATION, order.product, order.seed)
        view = policy_view(order.cutout, self._side)
        (rollouts,) = self._policy.generate([self._policy.prompt(text)], [view], [order.seed], order.candidates)
        prompts = [rollout.text for rollout in rollouts]
        (rendered,) = self._renderer.render([order.cutout], [prompts], [order.seed])
        views = [judge_view(one.creative, self._scorer.spec.image_size) for one in rendered]
        scores = self._scorer.score([order.product] * len(views), views)
        ctrs = self._scorer.ctr(scores)
        left_out = ["" if one.report.usable else one.report.reason for one in rendered]
        return [
            Made(k, text, prompts[k], b"" if left_out[k] else encode_png(one.creative), float(scores[k]), float(ctrs[k]), left_out[k])
            for k, one in enumerate(rendered)
        ]


async def timed(service: Service, picture: bytes, candidates: int, seed: int) -> float:
    """Seconds of one request."""

    async def request() -> CreativeRequest:
        cutout = await asyncio.to_thread(checked_cutout, picture, service.config)
        return CreativeRequest(Product("benchmark", "light crimson mug", "mug"), cutout, candidates, seed, "live")

    started = time.perf_counter()
    answered = [message async for message in service.make("acme", request)]
    seconds = time.perf_counter() - started
    assert len(answered) == 1 + candidates and isinstance(answered[0], Started), answered
    return seconds


def main() -> None:
    """Time requests, one at a time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="folder for the creatives")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--requests", type=int, default=40)
    given = parser.parse_args()
    config = load_config(Path("configs/serve-demo.yaml"), [f"serve.root={given.root}"])
    service = Service(config, LocalMaker(config), Routing("base"))
    picture = product_picture()

    async def every() -> list[float]:
        return [await timed(service, picture, given.candidates, seed) for seed in range(WARM_UP + given.requests)]

    print(json.dumps(asyncio.run(every())[WARM_UP:]))


if __name__ == "__main__":
    main()
