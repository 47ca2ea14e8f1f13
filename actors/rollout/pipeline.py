"""One shard's way through the stages: products -> prompts -> creatives -> scores. Only references and small records pass through here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayError, RayTaskError

from actors.cluster.connect import worker_options
from actors.cluster.resource_wait import wait_with_notes
from actors.cluster.stall_deadline import Patience
from actors.cluster.worker_death import first_line
from actors.rollout.pool_member import WorkerLost
from actors.rollout.publication import LivePublication
from actors.rollout.rolled_out import RolledOut, ShardPoisoned
from actors.rollout.shard import Shard
from actors.rollout.short_tasks import load_products
from actors.rollout.worker_pool import Reply, WorkerPool
from actors.rollout.worker_replies import PolicyReply, RenderReply
from actors.rollout.workers.policy_worker import PolicyWorker
from actors.rollout.workers.renderer_worker import RendererWorker
from actors.rollout.workers.scorer_worker import ScorerWorker
from actors.telemetry.progress import Progress
from actors.telemetry.stage_times import Stage, StageClock
from actors.telemetry.throughput import Throughput
from actors.telemetry.worker_log import with_absolute_root
from actors.weights.published import PublishedWeights, SyncReport
from actors.weights.verification import verify_sync
from caig_rl.config.schema import TASK_CPUS, Config, PoolConfig
from caig_rl.models.vllm_engine import prepare_environment
from caig_rl.runs.events import RecordEvent, no_event

logger = logging.getLogger(__name__)

T = TypeVar("T")
Screened = Callable[[Shard, PolicyReply], PolicyReply]


MAX_ISSUES = 50
"""Issues of one shard after which it fails, also where none of its failures was its own."""


class RolloutPipeline:
    """The three pools, and the weights that the policy pool is to hold."""

    def __init__(
        self,
        config: Config,
        clock: StageClock,
        throughput: Throughput,
        progress: Progress,
        record_event: RecordEvent = no_event,
        judge: ray.ObjectRef | None = None,
    ) -> None:
        """No worker starts yet. `judge`: refers to the Judge; read by the scorers of `reward.kind=world` alone."""
        config = with_absolute_root(config)
        self._config, self._clock, self._throughput, self._progress, self._record_event = config, clock, throughput, progress, record_event
        self.publication = LivePublication()
        self.syncs, self.verified = 0, 0
        """Weight syncs asked of workers, and those that verified."""
        self.issued_again = 0
        """Shards that were issued once more, in this process."""
        pools = config.pools
        engine = prepare_environment(config.policy, pools.policy.threads) if not pools.policy.num_gpus else {}
        spawn_policy = _spawner(PolicyWorker, config, pools.policy, engine)
        self.policy = _pool("policy", spawn_policy, pools.policy, config, record_event, self._sync)
        self.renderer = _pool("renderer", _spawner(RendererWorker, config, pools.renderer), pools.renderer, config, record_event)
        asked = (judge,) if config.reward.kind == "world" else ()
        self.scorer = _pool("scorer", _spawner(ScorerWorker, config, pools.scorer, None, *asked), pools.scorer, config, record_event)

    @property
    def pools(self) -> dict[str, WorkerPool]:
        """All pools by name."""
        return {"policy": self.policy, "renderer": self.renderer, "scorer": self.scorer}

    async def go_live(self, published: PublishedWeights) -> None:
        """Bring `published` to every policy worker, each verified; later workers will hold it before their first shard.

        Raises:
            SyncError: a worker does not hold what was published.
        """
        await self.publication.replace(published)
        with self._clock.running("sync"):
            await self.policy.refresh()

    async def rollout(
        self,
        shard: Shard,
        source: ray.ObjectRef,
        candidates: int,
        written: Callable[[], None] = lambda: None,
        score_all: bool = False,
        screened: Screened | None = None,
    ) -> RolledOut:
        """Take `shard` through all stages, issuing it again, whole, when a worker or an object is lost or a stage raises.

        Args:
            shard: what to roll out.
            source: refers to the ProductSource.
            candidates: prompts a product.
            written: called when the prompts of this shard are there (again, when it is issued again).
            score_all: score the creatives that the usability gate refuses, too (evaluation).
            screened: keeps of each product's prompts those that are to be painted; None: all are.

        Raises:
            ShardPoisoned: it failed `rollout.max_attempts` times; losses to a node that went away do not count.
            PoolError, SyncError: a pool is beyond repair.
        """
        return await self._issue(shard, partial(self._once, shard, source, candidates, written, score_all, screened))

    async def paint(self, shard: Shard, source: ray.ObjectRef, prompts: list[list[str]]) -> ray.ObjectRef:
        """Paint given prompts, a list for each product of `shard`, without a policy. Returns the creatives' ref, as in `RolledOut`.

        Raises:
            ShardPoisoned: after `rollout.max_attempts` attempts.
        """
        return await self._issue(shard, partial(self._paint_once, shard, source, ray.put(prompts)))

    async def close(self) -> None:
        """Stop all workers."""
        for pool in self.pools.values():
            await pool.close()

    async def _issue(self, shard: Shard, once: Callable[[_Place, int], Awaitable[T]]) -> T:
        """Issue until it succeeds, or has failed by its own fault `rollout.max_attempts` times."""
        place, faults = _Place(), 0
        for attempt in range(1, MAX_ISSUES + 1):
            try:
                return await once(place, attempt)
            except (RayError, WorkerLost) as error:
                failure = error.cause if isinstance(error, RayTaskError) else error
                logger.warning("shard %s, attempt %d, stage %s: %s", shard.name, attempt, place.stage, first_line(failure))
                faults += not is_the_machines(error)
                if faults >= self._config.rollout.max_attempts or attempt == MAX_ISSUES:
                    raise ShardPoisoned(shard, place.stage, attempt, failure) from None
                self.issued_again += 1
                self._record_event("issued_again", place.stage, detail=f"shard {shard.name}: {first_line(failure)}")
        raise AssertionError("unreachable")

    async def _paint_once(self, shard: Shard, source: ray.ObjectRef, prompts: ray.ObjectRef, place: _Place, attempt: int) -> ray.ObjectRef:
        cutouts, _ = await self._load(shard, source, place)
        return (await self._stage("render", self.renderer, place, "render", shard, [cutouts], [prompts])).payload

    async def _load(self, shard: Shard, source: ray.ObjectRef, place: _Place) -> tuple[ray.ObjectRef, ray.ObjectRef]:
        """Refs of the cut-outs and of the policy's pictures."""
        place.stage = "load"
        ids = [product.product_id for product in shard.products]
        loaded, cutouts, views = load_products.remote(source, ids, self._config.policy.image_size)
        what = f"the products of shard {shard.name}, whose task needs {TASK_CPUS:g} CPU"
        await wait_with_notes(loaded, what, self._config.cluster.wait_note_s, self._progress.note)
        return cutouts, views

    async def _once(
        self,
        shard: Shard,
        source: ray.ObjectRef,
        candidates: int,
        written: Callable[[], None],
        score_all: bool,
        screened: Screened | None,
        place: _Place,
        attempt: int,
    ) -> RolledOut:
        cutouts, views = await self._load(shard, source, place)
        policy = await self._stage("policy", self.policy, place, "rollout", shard, [views], candidates)
        prompts: PolicyReply = policy.meta
        unscreened = None if screened is None else prompts
        self._throughput.add(tokens=prompts.tokens)
        texts = policy.payload
        if screened is not None:
            # The draw of a model's posterior takes milliseconds a product, which the event loop has not to spare.
            prompts = await asyncio.to_thread(screened, shard, prompts)
            texts = ray.put(prompts.texts())
        written()
        render = await self._stage("render", self.renderer, place, "render", shard, [cutouts], [texts])
        pictures: RenderReply = render.meta
        self._throughput.add(images=pictures.images)
        usable = [[report.usable or score_all for report in reports] for reports in pictures.reports]
        score = await self._stage("score", self.scorer, place, "score", shard, [render.payload], usable)
        return RolledOut(shard, prompts, pictures, score.meta, views, render.payload, attempt, policy.worker, unscreened)

    async def _stage(self, stage: Stage, pool: WorkerPool, place: _Place, method: str, shard: Shard, *arguments: Any) -> Reply:
        place.stage = stage
        with self._clock.running(stage):
            reply = await pool.call(method, shard, *arguments)
        self._progress.advanced(stage, len(shard.products))
        return reply

    async def _sync(self, handle: Any) -> None:
        """`prepare` of the policy pool: nothing to do before the first publication, which refreshes the pool anyway.

        Nobody can pull weights that went away with the learner's node: the worker reports it, and waits for the next publication.
        """
        while (published := self.publication.published) is not None:
            self.syncs += 1
            try:
                report: SyncReport = await handle.sync.remote(published)
            except RayTaskError as error:
                if not isinstance(error.cause, ObjectLostError):
                    raise
                logger.warning("version %s cannot be pulled any more: %s", published.version, first_line(error.cause))
                await self.publication.next_after_loss(published, first_line(error.cause))
                continue
            verify_sync(report, published, self._config.policy.dtype)
            self.verified += 1
            return


def is_the_machines(error: Exception) -> bool:
    """True where the shard cannot be to blame: a node went away, with a worker or with an object."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, (ObjectLostError, NodeDiedError)) or (isinstance(cause, WorkerLost) and cause.node_gone)


class _Place:
    """Where a shard is."""

    stage: str = "load"


def _pool(
    name: str,
    spawn: Callable[[], Any],
    pool: PoolConfig,
    config: Config,
    record_event: RecordEvent,
    prepare: Callable[[Any], Awaitable[None]] | None = None,
) -> WorkerPool:
    patience = Patience(config.recovery.stall_s, config.recovery.stall_factor)
    timeout_s = config.cluster.start_timeout_s
    return WorkerPool(name, spawn, pool.workers, timeout_s, prepare, record_event=record_event, most=pool.max_workers, patience=patience)


def _spawner(
    worker: type, config: Config, pool: PoolConfig, environment: dict[str, str] | None = None, *arguments: Any
) -> Callable[[], Any]:
    options = worker_options(pool, environment)
    return lambda: ray.remote(worker).options(**options).remote(config, *arguments)
