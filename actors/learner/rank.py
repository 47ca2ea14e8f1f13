"""One rank of the learner group: the Ray actor around the library's `PreferenceLearner`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import ray
from ray import ObjectRef

from actors.telemetry.worker_log import begin_worker_log
from actors.weights.digest import weights_digest
from actors.weights.packing import pack
from actors.weights.published import Canary, PackedTensor
from actors.weights.verification import CANARY_ANSWER, CANARY_INSTRUCTION, canary_view
from caig_rl.config.schema import Config
from caig_rl.data.group_table import groups_from_table
from caig_rl.learning.engine import free_port, init_group
from caig_rl.learning.preference.learner import PreferenceLearner
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.learning.regroup import load_at_any_size
from caig_rl.logs import about
from caig_rl.types import Rollout, RolloutGroup

logger = logging.getLogger(__name__)


COLLECTIVE_TIMEOUT_S = 24 * 3600.0
"""The controller notices a rank that stands still, and re-forms the group; a collective that gave up before would fail the run."""

ViewIndex = Sequence[tuple[int, int]]
"""For each pair, which of the view blocks holds its picture, and at which index."""


NegativeIndex = Sequence[tuple[int, int] | None]
"""The same for the picture that the pair's negative takes of another product; None where it takes none."""


class LearnerRank:
    """One rank. Wrapped as a Ray actor by `LearnerGroup`."""

    def __init__(self, config: Config, rank: int) -> None:
        begin_worker_log(config, "learner")
        self._config, self._rank = config, rank
        self._learner: PreferenceLearner | None = None

    def address(self) -> tuple[str, int]:
        """Where the other ranks can meet this one."""
        return ray.util.get_node_ip_address(), free_port()

    def build(self, master: tuple[str, int], world_size: int, total_steps: int) -> Canary:
        """Join the group of `world_size` and load the policy. Returns the canary's question."""
        import torch

        config = self._config
        torch.set_num_threads(config.learner.threads)
        init_group(self._rank, world_size, *master, timeout_s=COLLECTIVE_TIMEOUT_S)
        self._learner = PreferenceLearner(config, self._rank, world_size, total_steps)
        token_ids = self._learner.processor.tokenizer(CANARY_ANSWER, add_special_tokens=False)["input_ids"]
        return Canary(CANARY_INSTRUCTION, canary_view(config.policy.image_size), tuple(token_ids))

    def train(
        self,
        table: pa.Table,
        view_blocks: Sequence[ObjectRef],
        view_index: ViewIndex,
        negative_rollouts: Sequence[Rollout | None] | None,
        negative_index: NegativeIndex | None = None,
    ) -> Iterator[int | RoundMetrics]:
        """One round over the pairs of `table`: a count of steps as they are taken, and last the round's metrics."""
        blocks: list[np.ndarray] = ray.get(list(view_blocks))
        views = [blocks[block][index] for block, index in view_index]
        negative_views = [None if place is None else blocks[place[0]][place[1]] for place in negative_index or [None] * len(views)]
        pairs = groups_from_table(table)
        with about(round=pairs[0].admission.round, admissions=[pair.admission.admission_id for pair in pairs]):
            metrics = yield from self._ranked.train_steps(pairs, views, negative_rollouts, negative_views)
            logger.info("train: %d pairs, %d steps in %.2f s", metrics.rows, metrics.steps, metrics.seconds)
        yield metrics

    def initial_log_probs(
        self, groups: Sequence[RolloutGroup], view_blocks: Sequence[ObjectRef], view_index: ViewIndex
    ) -> list[list[tuple[float, ...]]]:
        """Of every group's answers, by the initial policy. All ranks compute all of them: sharded weights need every rank."""
        blocks: list[np.ndarray] = ray.get(list(view_blocks))
        return self._ranked.initial_log_probs(groups, [blocks[block][index] for block, index in view_index])

    def export(self, canary: Canary) -> tuple[tuple[str, tuple[float, ...]], dict[str, PackedTensor]]:
        """Hash and canary log-probs, and the merged weights (empty on ranks other than 0)."""
        log_probs = self._ranked.token_log_probs(canary.instruction, canary.view, canary.token_ids)
        packed = pack(self._ranked.export_weights())
        return (weights_digest(packed), log_probs), packed

    def save(self, url: str) -> None:
        """Write `learner/` (the checkpoint) and, by rank 0, `policy/` (a Hugging Face folder) under `url`."""
        if "://" not in url:
            self._save_local(Path(url))
            return
        with tempfile.TemporaryDirectory() as staging:
            self._save_local(Path(staging))
            filesystem, base = fsspec.core.url_to_fs(url)
            filesystem.put(f"{staging}/", f"{base}/", recursive=True)

    def load(self, url: str) -> None:
        """Go on from the checkpoint under `url`, whatever the size of the group that wrote it."""
        with tempfile.TemporaryDirectory() as staging, tempfile.TemporaryDirectory() as fetched:
            folder = Path(url) / "learner"
            if "://" in url:
                folder = Path(fetched)
                filesystem, base = fsspec.core.url_to_fs(url)
                filesystem.get(f"{base}/learner/", f"{fetched}/", recursive=True)
            load_at_any_size(self._ranked, folder, Path(staging))

    @property
    def _ranked(self) -> PreferenceLearner:
        assert self._learner is not None, "build comes first"
        return self._learner

    def _save_local(self, folder: Path) -> None:
        (folder / "learner").mkdir(parents=True, exist_ok=True)
        self._ranked.save(folder / "learner")
        self._ranked.export_folder(folder / "policy")
