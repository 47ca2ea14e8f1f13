"""What is reported of a run."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from actors.telemetry.metric_names import SERIES, Series
from actors.telemetry.prometheus import RunMetrics
from actors.telemetry.snapshot import PoolState, Snapshot
from caig_rl.runs.summary import RoundDetail


class Recorder:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, dict[str, str]]] = []

    def record(self, series: Series, value: float, labels: Mapping[str, str]) -> None:
        assert set(labels) == set(series.labels), series.name
        self.rows.append((series.name, value, dict(labels)))

    def of(self, name: str) -> list[float]:
        return [value for found, value, _ in self.rows if found == name]


BEGIN = Snapshot(
    rounds_done=0,
    rounds_planned=2,
    version=0,
    stage_seconds={"policy": 1.0, "idle": 2.0},
    slots={"in_flight": 4, "ready": 0, "training": 0, "free": 4},
    products={"trained": 0, "tied": 0},
    pools={"policy": PoolState(2, 1, 1, 0, {"policy-0": 0})},
    syncs=1,
    verified=1,
    counts={"pairs": 0, "images": 8, "tokens": 90},
    memory_bytes=1e9,
    rounds=(),
    staleness=(),
)
ROUND = RoundDetail.model_validate({"round": 0, "pairs": 4, "kl": 0.1, "reward_score": 0.5, "loss": None, "seconds": 9.0, "grad_norm": 2.0})


def test_counters_take_what_came_since_the_last_report():
    sink = Recorder()
    metrics = RunMetrics(sink)
    metrics.take(BEGIN)
    metrics.take(replace(BEGIN, counts={"pairs": 4, "images": 20, "tokens": 90}, stage_seconds={"policy": 1.5, "idle": 2.0}))
    assert sink.of("images") == [8, 12]
    assert sink.of("pairs") == [4]
    assert sink.of("stage_seconds") == [1.0, 2.0, 0.5]


def test_a_rounds_numbers_are_reported_once_and_only_those_that_were_measured():
    sink = Recorder()
    metrics = RunMetrics(sink)
    for snapshot in (BEGIN, replace(BEGIN, rounds=(ROUND,)), replace(BEGIN, rounds=(ROUND,))):
        metrics.take(snapshot)
    assert sink.of("kl") == [0.1]
    assert sink.of("grad_norm") == [2.0]
    assert sink.of("round_seconds") == [9.0]
    assert sink.of("loss") == []


def test_every_trained_pair_is_one_observation_of_staleness():
    sink = Recorder()
    metrics = RunMetrics(sink)
    metrics.take(replace(BEGIN, staleness=(0, 0)))
    metrics.take(replace(BEGIN, staleness=(0, 0, 1)))
    assert sink.of("staleness_versions") == [0, 0, 1]


def test_a_total_that_falls_back_to_a_checkpoint_is_not_taken_away():
    sink = Recorder()
    metrics = RunMetrics(sink)
    for count in (10, 6, 12):
        metrics.take(replace(BEGIN, products={"trained": count}))
    assert sum(sink.of("products")) == 12


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_exported_names_follow_prometheus(series: Series):
    names = series.exported()
    assert all(name.startswith("ray_caig_") for name in names)
    assert ("_total" in names[0]) == (series.kind == "counter")
