"""What a run has to tell of itself so far: times, counts, rounds, the initial evaluation. Checkpoints keep it, the summary shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from actors.book import RunBook
from actors.evaluation import MeasuredPolicy
from actors.fleet import Fleet
from actors.pipeline import RolloutPipeline
from actors.reporting import KnownFacts, RunNumbers, build_summary
from actors.telemetry import MemoryWatch, StageClock, Throughput
from caig_rl.config.schema import Config
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.evaluation.summary import RoundDetail, RunSummary, SyncSummary


class RunRecord:
    """Counters and finished numbers of one run, over all its resumes."""

    def __init__(self, config: Config, facts: KnownFacts) -> None:
        """`facts`: what only the caller knows."""
        self._config, self.facts = config, facts
        self.clock, self.throughput, self.memory = StageClock(), Throughput(), MemoryWatch()
        self.details: list[RoundDetail] = []
        self.before: MeasuredPolicy | None = None
        self.fleet: Fleet | None = None
        self.sha256: str | None = None
        """Of the weights that are live."""

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
        self, status: str, book: RunBook, pipeline: RolloutPipeline, after: MeasuredPolicy | None = None, failure: str | None = None
    ) -> RunSummary:
        """`summary.json` as of now."""
        times = self.clock.summary()
        numbers = RunNumbers(
            status=status,
            failure=failure,
            rounds_done=book.rounds_done,
            version=book.version,
            sha256=self.sha256,
            ledger=book.ledger,
            details=self.details,
            before=self.before,
            after=after,
            time=times,
            throughput=self.throughput.summary(times.total_s),
            sync=SyncSummary(count=pipeline.syncs, verified=pipeline.verified),
            peak_memory_gib=self.memory.peak_gib,
            fleet=None if self.fleet is None else self.fleet.summary(),
        )
        return build_summary(self._config, self.facts, numbers)
