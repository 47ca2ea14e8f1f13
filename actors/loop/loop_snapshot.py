"""What the metrics see of the loop: the one file that reads the loop's parts for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from actors.loop.state.preference_buffer import PreferenceBuffer
from actors.rollout.pipeline import RolloutPipeline
from actors.rollout.worker_health import WorkerState
from actors.rollout.worker_pool import WorkerPool
from actors.telemetry.live_file import write_live
from actors.telemetry.memory import MemoryMeter
from actors.telemetry.progress import Progress
from actors.telemetry.prometheus import RaySink, RunMetrics
from actors.telemetry.snapshot import PoolState, Snapshot
from actors.telemetry.snapshot_publisher import publish_snapshots
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput
from actors.telemetry.wait_reporter import WaitReporter
from caig_rl.config.schema import Config
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import FleetSummary, RoundDetail
from caig_rl.types import Outcome, PolicyVersion


async def publish_loop(config: Config, snapshot: Callable[[], Snapshot], folder: RunFolder, progress: Progress) -> None:
    """Until cancelled: metrics to Ray, `live.json` to the run folder, and a note to the progress display where workers are waited for."""
    waiting = WaitReporter(config.cluster.wait_note_s, progress.note)
    await publish_snapshots([RunMetrics(RaySink(config.run.name)).take, waiting.take], snapshot, partial(write_live, folder))


def observe(
    *,
    rounds_planned: int,
    rounds_done: int,
    version: PolicyVersion,
    pipeline: RolloutPipeline,
    ranks: tuple[int, int],
    buffer: PreferenceBuffer,
    ledger: Ledger,
    clock: StageClock,
    throughput: Throughput,
    memory: MemoryMeter,
    details: Sequence[RoundDetail],
    fleet: FleetSummary | None = None,
) -> Snapshot:
    """The parts of a running loop as one snapshot. `ranks`: of the learner, those up and all; `fleet`: what was replaced."""
    replaced = {} if fleet is None else fleet.replaced
    restarts = 0 if fleet is None else fleet.learner_restarts
    return Snapshot(
        rounds_done=rounds_done,
        rounds_planned=rounds_planned,
        version=version.number,
        incarnation=version.incarnation,
        learner_restarts=restarts,
        stage_seconds=clock.seconds(),
        slots={**buffer.counts(), "free": buffer.free_slots},
        products=_outcomes(ledger),
        pools={
            "learner": PoolState(ranks[1], ranks[0], 0, restarts),
            **{
                name: _pool_state(pool, replaced.get(name, 0), version.number if name == "policy" else None)
                for name, pool in pipeline.pools.items()
            },
        },
        syncs=pipeline.syncs,
        verified=pipeline.verified,
        counts=dict(throughput.counts),
        memory_bytes=memory.sample() * 2**30,
        rounds=details,
        staleness=ledger.staleness(),
    )


def _outcomes(ledger: Ledger) -> dict[str, int]:
    counts = ledger.counts()
    outcomes = {outcome.value: counts.get(outcome.value, 0) for outcome in Outcome}
    return {name: sum(count.values()) if isinstance(count, dict) else count for name, count in outcomes.items()}


def _pool_state(pool: WorkerPool, replaced: int, version: int | None) -> PoolState:
    workers = pool.workers()
    ready = [state for _, state, _ in workers if state in (WorkerState.IDLE, WorkerState.BUSY)]
    # A worker that has not come up yet holds no version.
    behind = {name: generations for name, state, generations in workers if state is not WorkerState.STARTING}
    versions = {} if version is None else {name: max(0, version - generations) for name, generations in behind.items()}
    return PoolState(pool.size, len(ready), ready.count(WorkerState.BUSY), replaced, versions)
