"""A run's numbers on Ray's metrics port, made from snapshots of the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ray.util import metrics as ray_metrics

from actors.telemetry.metric_names import BY_NAME, PREFIX, ROUND_NUMBERS, SERIES, Series
from actors.telemetry.snapshot import PoolState, Snapshot
from caig_rl.runs.summary import RoundDetail


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
        """A counter takes the increase; after a rollback there may be none. Ray refuses an increase of 0."""
        key = (name, "/".join(labels.values()))
        increase = total - self._totals.get(key, 0.0)
        if increase > 0:
            self._sink.record(BY_NAME[name], increase, labels)
        self._totals[key] = max(total, self._totals.get(key, 0.0))


def _ray_metric(series: Series) -> Any:
    name, keys = f"{PREFIX}{series.name}", ("run", *series.labels)
    if series.kind == "gauge":
        return ray_metrics.Gauge(name, series.help, keys)
    if series.kind == "counter":
        return ray_metrics.Counter(name, series.help, keys)
    return ray_metrics.Histogram(name, series.help, list(series.boundaries), keys)
