"""The renderer worker: paints the candidates of a shard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ray

from actors.rollout.shard import Shard, Stream
from actors.rollout.short_tasks import Creatives
from actors.rollout.worker_replies import RenderReply
from actors.rollout.workers.shard_log import logged
from actors.telemetry.worker_log import begin_worker_log
from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.renderer import Renderer
from caig_rl.types import Cutout


class RendererWorker:
    """Wrapped as a Ray actor by the loop."""

    def __init__(self, config: Config) -> None:
        begin_worker_log(config, "renderer")
        folder = resolve_model_folder(config.renderer.model, "renderer")
        self._size = config.imaging.size
        self._renderer = Renderer(folder, config.renderer, config.imaging, config.pools.renderer.threads)

    def ready(self) -> str:
        """The node it runs on, once the pipeline is loaded."""
        return str(ray.get_runtime_context().get_node_id())

    @logged
    def render(self, shard: Shard, cutouts: Sequence[ray.ObjectRef], prompts: Sequence[ray.ObjectRef]) -> tuple[RenderReply, Creatives]:
        """Paint all candidates, one product's from the same noise. `cutouts[0]` and `prompts[0]` refer to one entry a product."""
        loaded: list[Cutout] = ray.get(cutouts[0])
        texts: list[list[str]] = ray.get(prompts[0])
        rendered = self._renderer.render(loaded, texts, shard.seeds(Stream.NOISE))
        creatives = [
            np.stack([one.creative for one in row]) if row else np.zeros((0, self._size, self._size, 3), dtype=np.uint8) for row in rendered
        ]
        flat = [one for row in rendered for one in row]
        reports = tuple(tuple(one.report for one in row) for row in rendered)
        return RenderReply(reports, len(flat), sum(one.truncated for one in flat)), creatives
