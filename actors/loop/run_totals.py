"""Everything that a run counts, over all its lives: each part has one owner, and here they meet for the checkpoint and the summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.evaluation.baseline import Baseline
from actors.loop.learning.learner_recovery import Recoveries
from actors.loop.round_history import RoundHistory
from actors.loop.state.run_state import RunState
from actors.rollout.fleet import Fleet
from actors.rollout.pipeline import RolloutPipeline
from actors.telemetry.meters import RunMeters
from actors.telemetry.summary_builder import RunFacts, RunNumbers, build_summary
from caig_rl.config.schema import Config
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.runs.events import EventLog
from caig_rl.runs.result import GuardSummary, ResultSummary
from caig_rl.runs.summary import FleetSummary, RunSummary, SyncSummary
from caig_rl.runs.survived_counts import survived


@dataclass(frozen=True, slots=True)
class RunTotals:
    """References to the parts of a run that count something; `LoopParts` owns them."""

    config: Config
    facts: RunFacts
    events: EventLog
    meters: RunMeters
    history: RoundHistory
    baseline: Baseline
    pipeline: RolloutPipeline
    fleet: Fleet
    recoveries: Recoveries

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the run's state. The initial policy must have been measured."""
        return {
            **self.meters.to_json(),
            "syncs": [self.pipeline.syncs, self.pipeline.verified],
            "details": self.history.to_json(),
            **self.baseline.to_json(),
            "fleet": self.fleet.to_json() | self.recoveries.to_json(),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from what `to_json` gave."""
        self.meters.restore(content)
        self.pipeline.syncs, self.pipeline.verified = content["syncs"]
        self.history.restore(content["details"])
        self.baseline.restore(content)
        self.fleet.restore(content["fleet"])
        self.recoveries.restore(content["fleet"])

    def fleet_summary(self) -> FleetSummary:
        """`fleet` of the summary: what became of workers and of the learner group."""
        return self.fleet.summary().model_copy(
            update={"learner_restarts": self.recoveries.count, "replayed": tuple(self.recoveries.replayed)}
        )

    def summary(
        self,
        status: str,
        state: RunState,
        sha256: str | None,
        after: MeasuredPolicy | None = None,
        failure: str | None = None,
        result: ResultSummary | None = None,
        guard: GuardSummary | None = None,
    ) -> RunSummary:
        """`summary.json` as of now. `sha256`: of the weights that are live; `after`: the final policy, at the end, and `result` what it is;
        `guard`: what the guard says of the rounds done."""
        times = self.meters.clock.summary()
        numbers = RunNumbers(
            status=status,
            failure=failure,
            rounds_done=state.rounds_done,
            version=state.version,
            sha256=sha256,
            ledger=state.ledger,
            details=self.history.details,
            before=self.baseline.initial,
            after=after,
            time=times,
            throughput=self.meters.throughput.summary(times.total_s),
            sync=SyncSummary(count=self.pipeline.syncs, verified=self.pipeline.verified),
            peak_memory_gib=self.meters.memory.peak_gib,
            fleet=self.fleet_summary(),
            survived=survived(self.events.events),
            ctr_ceilings=self.baseline.ctr_ceilings,
            result=result,
            guard=guard,
        )
        return build_summary(self.config, self.facts, numbers)
