"""How a shard gets through the stages when workers are lost. The pools are fakes; products are loaded by a real Ray task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError, RayTaskError

from actors.rollout.pipeline import RolloutPipeline
from actors.rollout.pool_member import WorkerLost
from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard, make_shards
from actors.rollout.worker_pool import Reply
from actors.rollout.worker_replies import PolicyReply, RenderReply, ScoreReply
from actors.telemetry.progress import Silent
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput
from actors.weights.published import Canary, PublishedWeights, SyncReport
from actors.weights.verification import SyncError
from caig_rl.config.schema import Config
from caig_rl.types import PolicyVersion, RenderReport, Rollout, RolloutGroup
from tests.actors.fakes import FakeSource

SOURCE = FakeSource(2)
SHARD = make_shards(SOURCE.products, [5, 6], 0, 0, shard_size=2)[0]
REPLIES = {
    "rollout": PolicyReply((None, None), {}, PolicyVersion(0, 0), tokens=9),
    "render": RenderReply(((RenderReport(True), RenderReport(False, "blank")),) * 2, images=4, truncated=0),
    "score": ScoreReply(((1.0, 2.0), (3.0, 4.0))),
}


class FakePool:
    """Answers from `REPLIES`; raises the faults it was given first, one a call."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.calls = list(faults), list[tuple[Any, ...]]()

    async def call(self, method: str, *arguments: Any) -> Reply:
        self.calls.append((method, *arguments))
        if self.faults:
            raise self.faults.pop(0)
        return Reply(REPLIES[method], ray.put(method), "fake-0")


def _pipeline(policy: FakePool, renderer: FakePool, scorer: FakePool) -> RolloutPipeline:
    pipeline = RolloutPipeline(Config(), StageClock(), Throughput(), Silent())
    pipeline.policy, pipeline.renderer, pipeline.scorer = policy, renderer, scorer  # type: ignore[assignment]
    return pipeline


def _roll_out(pipeline: RolloutPipeline, source: FakeSource = SOURCE, score_all: bool = False) -> RolledOut:
    return asyncio.run(pipeline.rollout(SHARD, ray.put(source), 2, score_all=score_all))


def test_only_the_prompts_that_are_chosen_are_painted(cluster: None) -> None:
    pools = FakePool(), FakePool(), FakePool()
    written = list[str]()

    def screened(shard: Shard, reply: PolicyReply) -> PolicyReply:
        written.append(shard.name)
        rollouts = tuple(Rollout(text, (1,), (-1.0,)) for text in ("best", "second"))
        return replace(reply, groups=tuple(RolloutGroup(one, reply.version, "write", rollouts) for one in shard.admissions))

    rolled = asyncio.run(_pipeline(*pools).rollout(SHARD, ray.put(SOURCE), 12, screened=screened))
    assert written == [SHARD.name] and pools[0].calls[0][-1] == 12
    assert ray.get(pools[1].calls[0][3][0]) == [["best", "second"]] * 2
    assert rolled.policy.texts() == [["best", "second"]] * 2


def test_a_shard_passes_the_stages_in_order_and_only_usable_creatives_are_scored(cluster: None) -> None:
    pools = FakePool(), FakePool(), FakePool()
    rolled = _roll_out(_pipeline(*pools))
    assert [pool.calls[0][0] for pool in pools] == ["rollout", "render", "score"]
    assert pools[2].calls[0][3] == [[True, False], [True, False]]
    assert rolled.attempts == 1 and rolled.score == REPLIES["score"]


def test_an_evaluation_scores_what_the_gate_refuses_too(cluster: None) -> None:
    scorer = FakePool()
    _roll_out(_pipeline(FakePool(), FakePool(), scorer), score_all=True)
    assert scorer.calls[0][3] == [[True, True], [True, True]]


def test_a_shard_that_loses_its_worker_is_issued_again_whole(cluster: None) -> None:
    policy, renderer = FakePool(), FakePool(WorkerLost("renderer-0 died"))
    rolled = _roll_out(_pipeline(policy, renderer, FakePool()))
    assert rolled.attempts == 2 and len(policy.calls) == 2 and len(renderer.calls) == 2


def test_a_shard_that_fails_too_often_is_poisoned_with_stage_and_reason(cluster: None) -> None:
    faults = [WorkerLost("scorer-0 died"), RayTaskError("score", "traceback\nZeroDivisionError: no pixels", ZeroDivisionError("no pixels"))]
    with pytest.raises(ShardPoisoned, match="shard 0-1 failed 2 times, last in stage score: no pixels") as poisoned:
        _roll_out(_pipeline(FakePool(), FakePool(), FakePool(*faults)))
    assert (poisoned.value.stage, poisoned.value.attempts) == ("score", 2)


def test_a_shard_that_costs_a_worker_each_time_is_called_poison(cluster: None) -> None:
    with pytest.raises(ShardPoisoned) as poisoned:
        _roll_out(_pipeline(FakePool(), FakePool(*[WorkerLost("renderer-0 died")] * 2), FakePool()))
    assert poisoned.value.kind == "poison"


def test_what_is_lost_with_a_node_is_not_held_against_the_shard(cluster: None) -> None:
    lost = RayTaskError("render", "traceback", ObjectLostError("0" * 56, "", ""))
    renderer = FakePool(*[WorkerLost("renderer-0 died", node_gone=True)] * 3, lost, WorkerLost("renderer-4 died"))
    assert _roll_out(_pipeline(FakePool(), renderer, FakePool())).attempts == 6


def test_given_prompts_are_painted_without_a_policy(cluster: None) -> None:
    policy, renderer = FakePool(), FakePool(WorkerLost("renderer-0 died"))
    pipeline = _pipeline(policy, renderer, FakePool())
    creatives = asyncio.run(pipeline.paint(SHARD, ray.put(SOURCE), [["a table"], ["marble"]]))
    assert ray.get(creatives) == "render" and policy.calls == [] and len(renderer.calls) == 2
    assert ray.get(renderer.calls[1][3][0]) == [["a table"], ["marble"]]


def test_products_that_cannot_be_loaded_poison_their_shard_before_any_worker_is_asked(cluster: None) -> None:
    class Vanished(FakeSource):
        def cutouts(self, product_ids: Any) -> Any:
            raise FileNotFoundError("mug.png is gone")

    policy = FakePool()
    with pytest.raises(ShardPoisoned, match=r"last in stage load: mug\.png is gone"):
        _roll_out(_pipeline(policy, FakePool(), FakePool()), source=Vanished(2))
    assert policy.calls == []


class FakePuller:
    """A policy worker's handle: `answers` are what its syncs come to, one each."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.sync = list(answers), list[PolicyVersion](), self

    async def remote(self, published: PublishedWeights) -> SyncReport:
        self.asked.append(published.version)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer or SyncReport(published.version, published.sha256, (), "", published.canary_log_probs, 0.1)


class NoWorkers:
    """A policy pool that is made current without asking anyone."""

    async def refresh(self) -> None:
        return


def _published(number: int) -> PublishedWeights:
    return PublishedWeights(PolicyVersion(0, number), f"hash {number}", Canary("", np.zeros((1, 1, 3), np.uint8), (1,)), (-0.5,), ())


def test_a_worker_that_cannot_pull_what_is_live_asks_for_others_and_waits_for_them() -> None:
    """The learner's node went away with the weights: no fault of the worker, and no end of the run."""
    lost = RayTaskError("sync", "traceback", ObjectLostError("0" * 56, "", ""))
    pipeline, puller = _pipeline(NoWorkers(), FakePool(), FakePool()), FakePuller(lost, None)  # type: ignore[arg-type]

    async def main() -> None:
        await pipeline.go_live(_published(1))
        syncing = asyncio.create_task(pipeline._sync(puller))
        assert (await pipeline.publication.when_lost()).version == PolicyVersion(0, 1)
        assert not syncing.done()
        await pipeline.go_live(_published(2))
        assert not pipeline.publication.is_lost
        await syncing

    asyncio.run(main())
    assert puller.asked == [PolicyVersion(0, 1), PolicyVersion(0, 2)]
    assert (pipeline.syncs, pipeline.verified) == (2, 1)


def test_weights_that_cannot_be_loaded_are_the_runs_end() -> None:
    pipeline = _pipeline(NoWorkers(), FakePool(), FakePool())  # type: ignore[arg-type]
    broken = RayTaskError("sync", "traceback", KeyError("lm_head"))

    async def main() -> None:
        await pipeline.go_live(_published(1))
        await pipeline._sync(FakePuller(broken))

    with pytest.raises(RayTaskError):
        asyncio.run(main())
    assert not pipeline.publication.is_lost


def test_a_worker_that_loaded_other_bytes_than_were_published_is_the_runs_end() -> None:
    pipeline = _pipeline(NoWorkers(), FakePool(), FakePool())  # type: ignore[arg-type]
    torn = SyncReport(PolicyVersion(0, 1), "hash of a torn file", (), "", (-0.5,), 0.1)

    async def main() -> None:
        await pipeline.go_live(_published(1))
        await pipeline._sync(FakePuller(torn))

    with pytest.raises(SyncError, match="other bytes"):
        asyncio.run(main())
    assert (pipeline.syncs, pipeline.verified) == (1, 0)


def test_every_pool_gives_its_workers_up_after_the_time_that_the_config_names() -> None:
    config = Config.model_validate({"recovery": {"stall_s": 7.0}})
    pools = RolloutPipeline(config, StageClock(), Throughput(), Silent()).pools
    assert {name: pool._patience.deadline_s for name, pool in pools.items()} == {"policy": 7.0, "renderer": 7.0, "scorer": 7.0}


@pytest.mark.parametrize(("kind", "told"), [("world", ["the judge"]), ("random", [])])
def test_the_judge_is_handed_to_the_scorers_that_ask_it_and_to_no_others(
    kind: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, list[object]] = {}

    def spawner(worker: type, config: Config, pool: object, environment: object = None, *arguments: object) -> Callable[[], None]:
        made[worker.__name__] = list(arguments)
        return lambda: None

    monkeypatch.setattr("actors.rollout.pipeline._spawner", spawner)
    config = Config.model_validate({"reward": {"kind": kind}})
    RolloutPipeline(config, StageClock(), Throughput(), Silent(), judge="the judge")  # type: ignore[arg-type]
    assert made == {"PolicyWorker": [], "RendererWorker": [], "ScorerWorker": told}
