"""What a run has to tell of itself so far: times, counts, rounds, the initial evaluation. Checkpoints keep it, the summary shows it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from actors.loop.run_state import RunState
from actors.rollout.fleet import Fleet
from actors.rollout.pipeline import RolloutPipeline
from actors.telemetry.memory import MemoryMeter
from actors.telemetry.stage_times import StageClock
from actors.telemetry.summary_builder import RunFacts, RunNumbers, build_summary
from actors.telemetry.throughput import Throughput
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.evaluation.measured_policy import MeasuredPolicy
from caig_rl.reports.faults_survived import survived
from caig_rl.runs.events import DRIVER, EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.status import last_written_s
from caig_rl.runs.summary import RoundDetail, RunSummary, SyncSummary


class RunRecord:
    """Counters and finished numbers of one run, over all its resumes."""

    def __init__(self, config: Config, facts: RunFacts, folder: RunFolder) -> None:
        """`facts`: what only the caller knows; `folder`: what earlier lives of the run wrote is read from it.

        Raises:
            UserError: the record of events is damaged.
        """
        self._config, self.facts, self._folder = config, facts, folder
        self.events = EventLog(folder)
        self.record_event = self.events.record_event
        self._last_seen_s = last_written_s(folder)
        self.clock, self.throughput, self.memory = StageClock(), Throughput(), MemoryMeter()
        self.details: list[RoundDetail] = []
        self.before: MeasuredPolicy | None = None
        self.fleet: Fleet | None = None
        self.sha256: str | None = None
        """Of the weights that are live."""

    def tell_beginning(self, resume: bool, checkpoint: int | None) -> None:
        """The driver begins; with `resume` from `checkpoint`, or anew where there is none."""
        if not resume:
            return self.record_event("began", DRIVER)
        last = self.events.events[-1] if self.events.events else None
        seen = max((one for one in (self._last_seen_s, None if last is None else last.at_s) if one is not None), default=None)
        numbers = {"rounds": len([one for one in _rounds_written(self._folder) if one >= (checkpoint or 0)])}
        self.record_event(
            "resumed",
            DRIVER,
            last.reason if last is not None and last.kind == "ended" else "died",
            seconds=None if seen is None else max(0.0, time.time() - seen),
            numbers=numbers if checkpoint is None else numbers | {"checkpoint": checkpoint},
        )

    def extra(self, pipeline: RolloutPipeline) -> dict[str, Any]:
        """JSON for a checkpoint. The initial policy must have been measured."""
        assert self.before is not None and self.fleet is not None
        return {
            "seconds": self.clock.seconds(),
            "counts": dict(self.throughput.counts),
            "syncs": [pipeline.syncs, pipeline.verified],
            "peak_memory_gib": self.memory.peak_gib,
            "details": [detail.model_dump(mode="json") for detail in self.details],
            "before": self.before.to_json(),
            "ctr_ceilings": dict(self.facts.ctr_ceilings),
            "fleet": self.fleet.to_json(),
        }

    def restore(self, extra: dict[str, Any], pipeline: RolloutPipeline) -> None:
        """Go on from what `extra` gave."""
        self.clock.add_earlier(extra["seconds"])
        self.throughput.counts.update(extra["counts"])
        pipeline.syncs, pipeline.verified = extra["syncs"]
        self.memory.peak_gib = max(self.memory.peak_gib, extra["peak_memory_gib"])
        self.details = [RoundDetail.model_validate(detail) for detail in extra["details"]]
        self.before = MeasuredPolicy.from_json(extra["before"])
        if self.fleet is not None:
            self.fleet.restore(extra["fleet"])
        self.facts = replace(self.facts, ctr_ceilings=extra["ctr_ceilings"])

    def rewrite_metrics(self, folder: RunFolder) -> None:
        """`metrics.jsonl` as the rounds that count made it: rows of rounds that a resume runs again go."""
        rows = [json.dumps(detail.model_dump(mode="json"), allow_nan=False) + "\n" for detail in self.details]
        folder.write_text("metrics.jsonl", "".join(rows))

    def summary(
        self, status: str, run_state: RunState, pipeline: RolloutPipeline, after: MeasuredPolicy | None = None, failure: str | None = None
    ) -> RunSummary:
        """`summary.json` as of now."""
        times = self.clock.summary()
        numbers = RunNumbers(
            status=status,
            failure=failure,
            rounds_done=run_state.rounds_done,
            version=run_state.version,
            sha256=self.sha256,
            ledger=run_state.ledger,
            details=self.details,
            before=self.before,
            after=after,
            time=times,
            throughput=self.throughput.summary(times.total_s),
            sync=SyncSummary(count=pipeline.syncs, verified=pipeline.verified),
            peak_memory_gib=self.memory.peak_gib,
            fleet=None if self.fleet is None else self.fleet.summary(),
            survived=survived(self.events.events),
        )
        return build_summary(self._config, self.facts, numbers)


def _rounds_written(folder: RunFolder) -> set[int]:
    try:
        return {int(str(row["round"])) for row in folder.read_metrics()}
    except UserError:  # damaged: the checkpoint has the rounds, and `rewrite_metrics` is about to mend the file
        return set()
