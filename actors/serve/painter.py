"""The renderer behind the service; Serve puts creatives of different requests into one batch."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ray import serve

from actors.serve.messages import BATCH_WAIT_S, Painted
from caig_rl.config.schema import Config
from caig_rl.imaging.views import judge_view
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import Renderer
from caig_rl.serving.progress import ProgressWatch
from caig_rl.serving.store import encode_png
from caig_rl.types import Cutout


class Painter:
    """A Serve deployment."""

    def __init__(self, config: Config, view_side: int) -> None:
        """`view_side`: of the picture that goes on to the scorer, in pixels."""
        folder = resolve_model_folder(config.renderer.model, "renderer")
        self._renderer = Renderer(folder, config.renderer, config.imaging, config.pools.renderer.threads)
        self._view_side = view_side
        self._watch = ProgressWatch("the renderer", config.serve.limits.stall_timeout_s, time.monotonic)
        batched: Any = self.paint
        batched.set_max_batch_size(config.renderer.batch_size)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=BATCH_WAIT_S)
    async def paint(self, cutouts: list[Cutout], prompts: list[str], noise_seeds: list[int]) -> list[Painted]:
        """Paint one creative a job."""
        return await asyncio.to_thread(self._paint, cutouts, prompts, noise_seeds)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._watch.check()

    def _paint(self, cutouts: list[Cutout], prompts: list[str], noise_seeds: list[int]) -> list[Painted]:
        with self._watch.working():
            rendered = self._renderer.render(cutouts, [[prompt] for prompt in prompts], noise_seeds)
            return [
                Painted(encode_png(one.creative), judge_view(one.creative, self._view_side), "" if one.report.usable else one.report.reason)
                for (one,) in rendered
            ]
