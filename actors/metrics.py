"""A run's numbers on Ray's metrics port. A snapshot of the loop is taken every few seconds, so the loop itself reports nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.util import metrics as ray_metrics

from actors.series import BY_NAME, PREFIX, ROUND_NUMBERS, SERIES, Series
from caig_rl.evaluation.summary import RoundDetail

logger = logging.getLogger(__name__)

PERIOD_S = 2.0


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool at one moment."""

    desired: int
    ready: int
    busy: int
    replaced: int
    """Since the run began, in all lives of its driver; of the learner: times that its group was formed anew."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Policy pool only: worker -> version number that it holds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The loop at one moment. Totals are since the run began."""

    rounds_done: int
    rounds_planned: int
    version: int
    stage_seconds: Mapping[str, float]
    slots: Mapping[str, int]
    products: Mapping[str, int]
    pools: Mapping[str, PoolState]
    syncs: int
    verified: int
    counts: Mapping[str, int]
    """"pairs", "images", "tokens"."""
    memory_bytes: float
    rounds: Sequence[RoundDetail]
    staleness: Sequence[int]
    """Of every trained pair, in the order in which they were trained."""
    incarnation: int = 0
    """Of the live version: how often learner or driver fell back to a checkpoint."""
    learner_restarts: int = 0


class Sink(Protocol):
    """Where a number goes."""

    def record(self, series: Series, value: float, labels: Mapping[str, str]) -> None:
        """Gauges are set, counters increased by `value`, histograms observe it."""


class RaySink:
    """Ray's own metrics, which every node's agent exports."""

    def __init__(self, run: str) -> None:
        """`run`: value of the label that every series carries."""
        self._run = run
        self._metrics: dict[str, Any] = {series.name: _ray_metric(series) for series in SERIES}

    def record(self, series: Series, value: float, labels: Mapping[str, str]) -> None:
        """See `Sink`."""
        metric, tags = self._metrics[series.name], {"run": self._run, **labels}
        if series.kind == "gauge":
            metric.set(value, tags)
        elif series.kind == "counter":
            metric.inc(value, tags)
        else:
            metric.observe(value, tags)


class RunMetrics:
    """Turns snapshots into what changed since the last one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._totals: dict[tuple[str, str], float] = {}
        self._rounds_seen = self._staleness_seen = 0

    def take(self, now: Snapshot) -> None:
        """Report one snapshot."""
        self._gauge("rounds_done", now.rounds_done)
        self._gauge("rounds_planned", now.rounds_planned)
        self._gauge("policy_version", now.version)
        self._gauge("learner_restarts", now.learner_restarts)
        self._gauge("driver_memory_bytes", now.memory_bytes)
        for state, count in now.slots.items():
            self._gauge("slots", count, state=state)
        for stage, seconds in now.stage_seconds.items():
            self._total("stage_seconds", seconds, stage=stage)
        for outcome, count in now.products.items():
            self._total("products", count, outcome=outcome)
        for name in ("pairs", "images", "tokens"):
            self._total(name, now.counts.get(name, 0))
        self._total("syncs", now.syncs)
        self._total("syncs_verified", now.verified)
        for pool, pool_state in now.pools.items():
            self._pool(pool, pool_state)
        self._new_rounds(now.rounds)
        for behind in now.staleness[self._staleness_seen :]:
            self._sink.record(BY_NAME["staleness_versions"], behind, {})
        self._staleness_seen = len(now.staleness)

    def _pool(self, pool: str, state: PoolState) -> None:
        self._gauge("pool_desired", state.desired, pool=pool)
        self._gauge("pool_ready", state.ready, pool=pool)
        self._gauge("pool_busy", state.busy, pool=pool)
        self._gauge("pool_replaced", state.replaced, pool=pool)
        for worker, version in state.versions.items():
            self._gauge("worker_version", version, worker=worker)

    def _new_rounds(self, rounds: Sequence[RoundDetail]) -> None:
        for detail in rounds[self._rounds_seen :]:
            row = detail.model_dump()
            self._gauge("round_seconds", row.get("seconds") or 0.0)
            for name in ROUND_NUMBERS:
                if (value := row.get(name)) is not None:
                    self._gauge(name, value)
        self._rounds_seen = len(rounds)

    def _gauge(self, name: str, value: float, **labels: str) -> None:
        self._sink.record(BY_NAME[name], float(value), labels)

    def _total(self, name: str, total: float, **labels: str) -> None:
        """A counter takes the increase; after a fall-back to a checkpoint there may be none. Ray refuses an increase of 0."""
        key = (name, "/".join(labels.values()))
        increase = total - self._totals.get(key, 0.0)
        if increase > 0:
            self._sink.record(BY_NAME[name], increase, labels)
        self._totals[key] = max(total, self._totals.get(key, 0.0))


async def watch(
    takers: Sequence[Callable[[Snapshot], None]],
    snapshot: Callable[[], Snapshot],
    publish: Callable[[Snapshot], None] = lambda _: None,
    period_s: float = PERIOD_S,
    publish_every: int = 3,
) -> None:
    """Give a snapshot to every taker until cancelled, and once more then, so that the last round is not lost.

    `publish` is given every `publish_every`th snapshot in a thread of its own: it may write to a slow disk.
    """
    try:
        for number in itertools.count():
            now = snapshot()
            for take in takers:
                take(now)
            if number % publish_every == 0:
                await asyncio.to_thread(publish, now)
            await asyncio.sleep(period_s)
    finally:
        now = snapshot()
        for take in takers:
            take(now)
        publish(now)


async def end_watch(task: asyncio.Task[None]) -> None:
    """Cancel a watching `task` and wait until it has said its last. One that broke costs the run its watch, not its result."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
    except Exception:
        logger.exception("the watch over the run broke; the run goes on without metrics")


def _ray_metric(series: Series) -> Any:
    name, keys = f"{PREFIX}{series.name}", ("run", *series.labels)
    if series.kind == "gauge":
        return ray_metrics.Gauge(name, series.help, keys)
    if series.kind == "counter":
        return ray_metrics.Counter(name, series.help, keys)
    return ray_metrics.Histogram(name, series.help, list(series.boundaries), keys)
