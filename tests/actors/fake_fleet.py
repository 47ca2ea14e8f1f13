"""Workers and a learner rank without models, for runs in which the fleet is what is tested. They import nothing heavy, so they start fast.

The policy's "weights" are the ids of the admissions that they were trained on, in order: a lineage that can be read back from a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from actors.rollout.shard import Shard, Stream
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply
from actors.weights.published import Canary, PublishedWeights, SyncReport
from caig_rl.learning.preference.round_metrics import RoundMetrics
from caig_rl.types import Admission, Cutout, PolicyVersion, Product, RenderReport, Rollout, RolloutGroup

PICTURE_PX = 96
"""A shard's creatives are large enough to lie in the object store, not in a reply."""
GUARD_OF_ROUND = (0.0, 1.0, -1.0)
"""Means of the fake guard, the last for all later rounds."""
IDS_FILE = "learner/ids.json"


class LightSource:
    """`num` products without pictures worth looking at."""

    def __init__(self, num: int, prefix: str = "p") -> None:
        self.products, self.rejected = [Product(f"{prefix}{i}", f"thing {i}", "garden") for i in range(num)], []

    def cutouts(self, product_ids: Sequence[str]) -> list[Cutout]:
        """Opaque grey."""
        return [Cutout(np.full((16, 16, 4), 255, np.uint8), 1.0, "alpha") for _ in product_ids]


class _Worker:
    """A worker of a pool that takes `seconds` for a shard."""

    seconds = 0.05

    def __init__(self, config: Any, *told: Any) -> None:
        """`told`: what else the real worker of this place is given."""
        self._config, self.told = config, told

    def ready(self) -> str:
        """Its node."""
        return str(ray.get_runtime_context().get_node_id())


class FakePolicy(_Worker):
    """Answers by seed, whatever its weights."""

    _published: PublishedWeights | None = None
    _canary = (0.0,)

    def sync(self, published: PublishedWeights) -> SyncReport:
        """As the real one: pulled, hashed, and the canary asked before and after."""
        ids = ray.get(published.refs[0])
        before, before_sha256 = self._canary, "" if self._published is None else self._published.sha256
        self._published, self._canary = published, canary_of(ids)
        return SyncReport(published.version, digest_of(ids), before, before_sha256, self._canary, 0.0)

    def rollout(self, shard: Shard, views: Sequence[Any], candidates: int) -> tuple[PolicyReply, list[list[str]]]:
        """`candidates` different answers a product."""
        assert self._published is not None, "a worker without published weights was given work"
        ray.get(views[0])
        time.sleep(self.seconds)
        version = self._published.version
        rollouts = tuple(Rollout(f"answer {k}", (k, k + 1), (-1.0, -1.0)) for k in range(candidates))
        groups = tuple(RolloutGroup(admission, version, "write", rollouts) for admission in shard.admissions)
        return PolicyReply(groups, {}, version, 2 * candidates * len(groups)), [[one.text for one in rollouts] for _ in groups]


class FakeRenderer(_Worker):
    """Paints grey."""

    def render(self, shard: Shard, cutouts: Sequence[Any], prompts: Sequence[Any]) -> tuple[RenderReply, list[np.ndarray]]:
        """One (K, size, size, 3) block a product."""
        ray.get(cutouts[0])
        texts = ray.get(prompts[0])
        time.sleep(self.seconds_for(shard))
        blocks = [np.full((len(row), PICTURE_PX, PICTURE_PX, 3), 127, np.uint8) for row in texts]
        return RenderReply(tuple(tuple(RenderReport(True) for _ in row) for row in texts), sum(map(len, texts)), 0), blocks

    def seconds_for(self, shard: Shard) -> float:
        """How long the shard takes."""
        return self.seconds


class FakeScorer(_Worker):
    """Scores by the admission's seed. Where the config names a guard, it turns in the third round."""

    def score(self, shard: Shard, creatives: Sequence[Any], usable: Sequence[Sequence[bool]]) -> tuple[ScoreReply, None]:
        """One number a candidate, all different."""
        ray.get(creatives[0])
        time.sleep(self.seconds)
        seeds = shard.seeds(Stream.REWARD)
        scores = [tuple(np.random.default_rng(seed).standard_normal(len(row))) for seed, row in zip(seeds, usable, strict=True)]
        guarded = self._config.guard.reward is not None and not shard.is_evaluation
        guard = tuple(self._guard(admission, len(row)) for admission, row in zip(shard.admissions, usable, strict=True)) if guarded else ()
        return ScoreReply(tuple(tuple(float(one) for one in row) for row in scores), {}, guard), None

    def _guard(self, admission: Admission, candidates: int) -> tuple[float, ...]:
        mean = GUARD_OF_ROUND[min(admission.round, len(GUARD_OF_ROUND) - 1)]
        return tuple(mean + 0.1 * float(one) for one in np.random.default_rng(admission.seed).standard_normal(candidates))


class FakeRank:
    """A learner rank whose weights are the ids it was trained on."""

    seconds = 0.05

    def __init__(self, config: Any, rank: int) -> None:
        self._rank, self._ids = rank, list[int]()

    def address(self) -> tuple[str, int]:
        """Nobody meets it there."""
        return "127.0.0.1", 1

    def build(self, master: tuple[str, int], world_size: int, total_steps: int) -> Canary:
        """The canary's question."""
        return Canary("sing", np.zeros((4, 4, 3), np.uint8), (1,))

    def train(self, table: pa.Table, view_blocks: Sequence[Any], view_index: Any, *negatives: Any) -> Iterator[Any]:
        """A step for each pair, then what a round's metrics hold."""
        ray.get(list(view_blocks))
        ids = table.column("admission_id").to_pylist()
        for admission_id in ids:
            self._ids.append(admission_id)
            time.sleep(self.seconds_for(table) / len(ids))
            yield len(self._ids)
        yield RoundMetrics(len(ids), len(ids), 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1e-3, 0.0)

    def seconds_for(self, table: pa.Table) -> float:
        """How long the round takes."""
        return self.seconds

    def initial_log_probs(
        self, groups: Sequence[RolloutGroup], view_blocks: Sequence[Any], view_index: Any
    ) -> list[list[tuple[float, ...]]]:
        """Those that the answers were sampled with."""
        ray.get(list(view_blocks))
        return [[one.logprobs for one in group.rollouts] for group in groups]

    def export(self, canary: Canary) -> tuple[tuple[str, tuple[float, ...]], np.ndarray]:
        """Hash, canary and weights."""
        ids = np.array(self._ids, np.int64)
        return (digest_of(ids), canary_of(ids)), ids

    def save(self, url: str) -> None:
        """The ids, as JSON."""
        file = Path(url, IDS_FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self._ids))

    def load(self, url: str) -> None:
        """What `save` wrote."""
        self._ids = json.loads(Path(url, IDS_FILE).read_text())


def digest_of(ids: np.ndarray) -> str:
    """Of the weights."""
    return hashlib.sha256(np.asarray(ids, np.int64).tobytes()).hexdigest()


def canary_of(ids: np.ndarray) -> tuple[float, ...]:
    """Another one for every length."""
    return (-float(len(ids)),)


def use_fakes(renderer: type = FakeRenderer, rank: type = FakeRank) -> None:
    """From now on this process's runs have no models."""
    import actors.learner.group
    import actors.rollout.pipeline

    actors.rollout.pipeline.PolicyWorker, actors.rollout.pipeline.ScorerWorker = FakePolicy, FakeScorer  # type: ignore[assignment, misc]
    actors.rollout.pipeline.RendererWorker, actors.learner.group.LearnerRank = renderer, rank  # type: ignore[assignment, misc]


def versions_are_current(rows: Sequence[dict[str, Any]]) -> bool:
    """True where every trained pair was written by the version that its round was to be written by, at a staleness of 0."""
    trained = [row for row in rows if row["outcome"] == "trained"]
    return all(PolicyVersion.parse(row["version"]).number == row["round"] for row in trained)
