"""Loses rollout nodes all the time and shows that nothing else is lost: the demo on a cluster of three nodes on this machine.

    python benchmarks/node_kills.py [--minutes 12] [--every 120] [--undisturbed RUN...] [KEY=VALUE...]

One node has the driver and the learner; two have the rollout workers. Every two minutes a rollout node is killed, with its workers and
its objects, and a new one comes; a learner rank is killed once, and a scorer once. Prints what the run's promises came to, and ends with 1
where one is broken. `--undisturbed`: run folders of `caig-rl ablate configs/ablate.yaml --only pcpo`, the same training on several seeds:
the lift, on the same 96 products, must be among theirs, and the weights those of the undisturbed run of the same seed, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"

import ray
from ray.cluster_utils import Cluster

from actors.chaos.fault import InjectedFault, NoTarget
from actors.chaos.learner_faults import kill_rank
from actors.chaos.node_faults import kill_rollout_node
from actors.launch.run_facts import known_facts
from actors.loop.online_loop import OnlineLoop
from actors.loop.run import run
from actors.telemetry.progress import Silent
from caig_rl.cli.common import sources
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.evaluation.recovery_time import recovery_s
from caig_rl.reports.run_report import write_report
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RoundDetail, RunSummary, read_summary
from caig_rl.types import PolicyVersion

FAST_DEATH_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 5,
    "idle_worker_killing_time_threshold_ms": 300_000,
}
STORE = {"object_store_memory": 300 * 2**20}
SPOT = {"num_cpus": 2, "labels": {"market": "spot"}, **STORE}
HEAD = {"num_cpus": 1, "labels": {"market": "on-demand"}, **STORE, "_system_config": FAST_DEATH_NOTICE}
ORDER_LIMIT_S = 60.0
POOLS = ("policy", "renderer", "scorer")
PLACED = [
    *(f"pools.{name}.node_labels={{market: spot}}" for name in POOLS),
    "learner.node_labels={market: on-demand}",
    "recovery.learner_restarts=5",
    "rollout.max_attempts=4",
    "evaluation.products=96",
    "evaluation.gallery=4",
]


@dataclass
class ScoreTimes(Silent):
    """Notes when each product was scored, and what the loop says."""

    scored_at: list[float] = field(default_factory=list)

    def advanced(self, stage: str, count: int) -> None:
        """A shard passed a stage."""
        if stage == "score":
            self.scored_at += [time.monotonic()] * count

    def round_ended(self, detail: RoundDetail) -> None:
        """A line a round."""
        print(f"round {detail.round + 1}: {detail.pairs} pairs", flush=True)

    def note(self, text: str) -> None:
        """As it comes."""
        print(text, flush=True)


@dataclass
class NodeKiller:
    """Kills by the clock, from the first scored product on."""

    cluster: Cluster
    score_times: ScoreTimes
    minutes: float
    every_s: float
    kills: list[tuple[str, float]] = field(default_factory=list)
    loop: OnlineLoop | None = None

    async def run(self, loop: OnlineLoop) -> None:
        """Until the minutes are over; then wait for the run's end."""
        self.loop = loop
        while not self.score_times.scored_at:
            await asyncio.sleep(0.5)
        began = time.monotonic()
        for number in range(self.nodes_to_kill):
            await asyncio.sleep(max(0.0, began + (number + 0.5) * self.every_s - time.monotonic()))
            await self._until_a_node_is_dead()
            for node in [one for one in self.cluster.worker_nodes if one.dead_processes()]:
                self.cluster.remove_node(node, allow_graceful=False)
            self.cluster.add_node(**SPOT)  # sets signal handlers, which only the main thread may
            if number in (1, 3):
                await asyncio.sleep(self.every_s / 2)
                await self._until_killed(("rank", kill_rank) if number == 1 else ("scorer", _kill_scorer))
        await asyncio.Event().wait()

    @property
    def nodes_to_kill(self) -> int:
        """How many in all."""
        return int(self.minutes * 60 / self.every_s)

    async def _until_a_node_is_dead(self) -> None:
        """The order travels through a worker of the node, which may be lost before it carries it out."""
        alive = _alive_nodes()
        while _alive_nodes() == alive:
            await self._until_killed(("node", kill_rollout_node))
            limit = time.monotonic() + ORDER_LIMIT_S
            while _alive_nodes() == alive and time.monotonic() < limit:
                await asyncio.sleep(0.5)
            if _alive_nodes() == alive:
                self.kills.pop()

    async def _until_killed(self, fault: tuple[str, Any]) -> None:
        name, inject = fault
        assert self.loop is not None
        while True:
            try:
                broken = inject(self.loop, len(self.kills))
                break
            except NoTarget:
                await asyncio.sleep(1.0)
        self.kills.append((name, time.monotonic()))
        print(f"killed: {broken.what}", flush=True)


def _alive_nodes() -> int:
    return sum(node["Alive"] for node in ray.nodes())


def _kill_scorer(loop: OnlineLoop, draw: int) -> InjectedFault:
    victims = list(loop.pipeline.scorer.ready().values())
    if not victims:
        raise NoTarget("no scorer is up")
    ray.kill(victims[0])
    return InjectedFault("a scorer", lambda: "")


def promises(summary: RunSummary, loop: OnlineLoop) -> dict[str, bool]:
    """What a run promises, and whether it was kept."""
    products, run_state = summary.products, loop.run_state
    outcomes = products.trained + products.tied + products.expired + sum(products.failed.values())
    learned = run_state.ledger.learned().values()
    in_lineage = [_is_in_lineage(number, version, loop) for number, version in learned]
    return {
        "the run ended": summary.status == "done",
        f"admitted {products.admitted} = outcomes {outcomes}": products.admitted == outcomes and products.in_flight == 0,
        f"{len(in_lineage)} trained pairs, each once in the surviving lineage": len(in_lineage) == products.trained and all(in_lineage),
        f"staleness at most {run_state.buffer.max_staleness}": max(run_state.ledger.staleness(), default=0)
        <= run_state.buffer.max_staleness,
        f"{run_state.buffer.free_slots} of {run_state.buffer.slots} slots free": run_state.buffer.free_slots == run_state.buffer.slots,
    }


def _is_in_lineage(number: int, version: PolicyVersion | None, loop: OnlineLoop) -> bool:
    return version is not None and version.number == number + 1 and loop.run_state.lineage.survives(version)


def like_undisturbed(summary: RunSummary, undisturbed: Sequence[Path]) -> dict[str, bool]:
    """Whether lift and weights are those of undisturbed runs; empty without any.

    Raises:
        UserError: no folder of a run.
    """
    others = [read_summary(RunFolder(str(path.parent), path.name)) for path in undisturbed]
    lifts = [other.ctr.lift for other in others if other.ctr is not None]
    if not lifts or summary.ctr is None:
        return {}
    text = f"lift {summary.ctr.lift:+.2%}, undisturbed {min(lifts):+.2%} to {max(lifts):+.2%} ({len(lifts)} runs)"
    found = {text: min(lifts) <= summary.ctr.lift <= max(lifts)}
    for other in others:
        if other.seed == summary.seed:
            found[f"weights are those of the undisturbed run of seed {other.seed}, bit for bit"] = (
                other.policy.sha256 == summary.policy.sha256
            )
    return found


def show_recovery(kills: Sequence[tuple[str, float]], scored_at: Sequence[float], window_s: float) -> None:
    """How long the pipeline took after each kill, and median and maximum."""
    times = [(name, recovery_s(scored_at, at, window_s)) for name, at in kills]
    print(f"\nto the former rate (products scored in {window_s:.0f} s, a round's mean length) after each kill:")
    for name, seconds in times:
        print(f"  {name:8} {'not before the end of the run' if seconds is None else f'{seconds:.0f} s'}")
    known = [seconds for _, seconds in times if seconds is not None]
    if known:
        print(f"  median {statistics.median(known):.0f} s, maximum {max(known):.0f} s, of {len(known)} of {len(times)} kills")


def main() -> int:
    """Cluster up, run, verdict, cluster down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--every", type=float, default=120.0, help="seconds between two nodes' ends")
    parser.add_argument("--undisturbed", type=Path, nargs="*", default=[])
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    config = load_config(Path("configs/demo.yaml"), ["run.name=node-kills", *PLACED, *options.overrides])
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    for _ in range(2):
        cluster.add_node(**SPOT)
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        score_times = ScoreTimes()
        injector = NodeKiller(cluster, score_times, options.minutes, options.every)
        summary = _run(config, score_times, injector)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert injector.loop is not None
    counts = {name: sum(one == name for one, _ in injector.kills) for name in ("node", "rank", "scorer")}
    found = {f"killed {counts['node']} of {injector.nodes_to_kill} nodes": counts["node"] == injector.nodes_to_kill}
    found |= promises(summary, injector.loop) | like_undisturbed(summary, options.undisturbed)
    print(f"\n{summary.time.total_s / 60:.1f} minutes, killed {counts}, {summary.fleet}")
    for text, is_kept in found.items():
        print(f"  {'kept  ' if is_kept else 'BROKEN'}  {text}")
    show_recovery(injector.kills, score_times.scored_at, summary.time.total_s / max(1, summary.rounds))
    return 0 if all(found.values()) else 1


def _run(config: Config, score_times: ScoreTimes, injector: NodeKiller) -> RunSummary:
    source, evaluation, judge = sources(config)
    folder = RunFolder(config.run.root, config.run.name)
    facts = known_facts(config, source, evaluation, judge)
    summary = asyncio.run(run(config, source, evaluation, judge, folder, facts=facts, progress=score_times, beside=injector.run))
    print(f"report: {write_report(folder)}")
    return summary


if __name__ == "__main__":
    sys.exit(main())
