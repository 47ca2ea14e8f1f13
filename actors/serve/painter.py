"""The renderer behind the service; creatives of different requests are painted in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.serve.messages import NO_VERSION, Painted, PaintJob
from actors.serve.replica_log import batch_done, begin_replica_log
from caig_rl.config.schema import Config
from caig_rl.imaging.views import judge_view
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import RenderedCreative, Renderer
from caig_rl.serving.creatives.store import encode_png
from caig_rl.serving.load.stall_detection import StallDetector
from caig_rl.serving.load.versioned_batcher import VersionedBatcher


class Painter:
    """A Serve deployment."""

    def __init__(self, config: Config, view_side: int) -> None:
        """`view_side`: of the picture that goes on to the scorer, in pixels."""
        begin_replica_log(config, "renderer")
        folder = resolve_model_folder(config.renderer.model, "renderer")
        self._renderer = Renderer(folder, config.renderer, config.imaging, config.pools.renderer.threads)
        self._view_side = view_side
        self._stall = StallDetector("the renderer", config.serve.limits.stall_timeout_s, time.monotonic)
        # Not serve.batch: that waits for a batch to fill even where the renderer has nothing else to do.
        self._batcher: VersionedBatcher[PaintJob, list[Painted]] = VersionedBatcher(
            self._run, config.renderer.batch_size, lambda job: len(job.prompts)
        )

    async def paint(self, job: PaintJob) -> list[Painted]:
        """One creative a prompt, in order."""
        return await self._batcher.submit(NO_VERSION, job)

    def check_health(self) -> None:
        """Raises Stalled where a batch hangs."""
        self._stall.check()

    def _run(self, _: str, jobs: Sequence[PaintJob]) -> list[list[Painted]]:
        with self._stall.working(), batch_done("painted", jobs, sum(len(job.prompts) for job in jobs)):
            rendered = self._renderer.render([job.cutout for job in jobs], [job.prompts for job in jobs], [job.noise_seed for job in jobs])
            return [[self._painted(one) for one in creatives] for creatives in rendered]

    def _painted(self, one: RenderedCreative) -> Painted:
        left_out = "" if one.report.usable else one.report.reason
        # What nobody will see is not worth the time of encoding it.
        return Painted(b"" if left_out else encode_png(one.creative), judge_view(one.creative, self._view_side), left_out)
