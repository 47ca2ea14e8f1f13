"""The names of everything a run tells Prometheus. Ray puts "ray_" before each; cluster/grafana-dashboard.json queries them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "caig_"
RAY_PREFIX = "ray_"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric. Every one carries the label `run`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    """Histograms only."""

    def exported(self) -> tuple[str, ...]:
        """Names under which Prometheus stores it."""
        base = f"{RAY_PREFIX}{PREFIX}{self.name}"
        if self.kind == "histogram":
            return (f"{base}_bucket", f"{base}_sum", f"{base}_count")
        return (f"{base}_total",) if self.kind == "counter" else (base,)


SERIES = (
    Series("rounds_done", "gauge", "Rounds completed."),
    Series("rounds_planned", "gauge", "Rounds the config asks for."),
    Series("stage_seconds", "counter", "Wall time by stage; the parts add up to the run's time.", ("stage",)),
    Series("slots", "gauge", "Admissions under way, by state, and free slots.", ("state",)),
    Series("products", "counter", "Admissions that ended, by outcome.", ("outcome",)),
    Series("staleness_versions", "histogram", "How many versions behind the learner a trained pair was.", (), (0.5, 1.5, 2.5, 4.5, 8.5)),
    Series("policy_version", "gauge", "Version number of the live policy."),
    Series("worker_version", "gauge", "Policy version that a policy worker holds.", ("worker",)),
    Series("pool_desired", "gauge", "Workers that a pool wants.", ("pool",)),
    Series("pool_ready", "gauge", "Workers of a pool that take work or do some.", ("pool",)),
    Series("pool_busy", "gauge", "Workers of a pool that do some.", ("pool",)),
    Series("pool_replaced", "gauge", "Workers of a pool that died and were replaced since the run began.", ("pool",)),
    Series("learner_restarts", "gauge", "Times that the learner's group was re-formed since the run began."),
    Series("syncs", "counter", "Weight syncs asked of policy workers."),
    Series("syncs_verified", "counter", "Weight syncs that were verified by hash and canary."),
    Series("pairs", "counter", "Preference pairs made."),
    Series("images", "counter", "Creatives painted."),
    Series("tokens", "counter", "Tokens sampled."),
    Series("driver_memory_bytes", "gauge", "Memory of the controller and its children."),
    Series("round_seconds", "gauge", "Wall time of the last round."),
    Series("loss", "gauge", "Loss of the last round."),
    Series("kl", "gauge", "KL(policy || reference) of the last round, nats an answer."),
    Series("reward_score", "gauge", "Mean reward of the last round's creatives."),
    Series("guard_score", "gauge", "Mean score of the same creatives by the guard, where there is one."),
    Series("relevance", "gauge", "Mean relevance of the last round's creatives, where a judge says."),
    Series("ctr", "gauge", "Mean true CTR of the last round's creatives, where a judge says."),
    Series("distinct_prompts", "gauge", "Share of distinct prompts in the last round."),
    Series("logprob_gap", "gauge", "Mean difference of engine's and learner's log-probs in the last round, nats a token."),
    Series("grad_norm", "gauge", "Mean gradient norm of the last round, before clipping."),
    Series("implicit_accuracy", "gauge", "Share of pairs that the implicit reward ordered rightly before each step."),
)
BY_NAME = {series.name: series for series in SERIES}
ROUND_NUMBERS = (
    "loss",
    "kl",
    "reward_score",
    "guard_score",
    "relevance",
    "ctr",
    "distinct_prompts",
    "logprob_gap",
    "grad_norm",
    "implicit_accuracy",
)
"""Gauges that are a round's own numbers, under the names that `metrics.jsonl` has."""
