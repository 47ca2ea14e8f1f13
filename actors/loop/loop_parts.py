"""The parts of one run, built from its configuration: who owns what, and who is given whom. Nothing starts here."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from actors.checkpoints.compatibility import run_fingerprint
from actors.checkpoints.store import CheckpointStore
from actors.evaluation.baseline import Baseline
from actors.evaluation.held_out import Evaluation
from actors.learner.group import LearnerGroup
from actors.loop.checkpoint_writer import CheckpointWriter
from actors.loop.guard_watch import GuardWatch
from actors.loop.learning.learner_control import LearnerControl
from actors.loop.learning.learner_recovery import LearnerRecovery
from actors.loop.learning.prompt_learning import PromptLearning
from actors.loop.learning.round_training import RoundTraining
from actors.loop.round_history import RoundHistory
from actors.loop.run_totals import RunTotals
from actors.loop.state.group_journal import GroupJournal
from actors.loop.state.run_state import RunState
from actors.rollout.fleet import Fleet
from actors.rollout.pipeline import RolloutPipeline
from actors.telemetry.meters import RunMeters
from actors.telemetry.progress import Progress
from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.schema import Config
from caig_rl.interfaces import Judge, ProductSource
from caig_rl.runs.events import EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.ledger import Ledger
from caig_rl.segments import segment_shares


@dataclass(frozen=True, slots=True)
class LoopInputs:
    """What a run is given."""

    source: ProductSource
    """Products to train on."""
    eval_source: ProductSource
    """Products to measure initial and final policy on."""
    judge: Judge | None
    """The traffic that says how often creatives are really clicked; None: `ctr` is null."""
    facts: RunFacts
    """What only the caller knows, for the summary."""
    baseline: Baseline
    """Measured already, where the caller has the initial policy's measurement."""


@dataclass(frozen=True, slots=True)
class LoopParts:
    """One of each; references between them are fixed for the life of the driver."""

    source: ray.ObjectRef
    eval_source: ray.ObjectRef
    judge: ray.ObjectRef | None
    events: EventLog
    run_state: RunState
    evaluation: Evaluation
    pipeline: RolloutPipeline
    fleet: Fleet
    store: CheckpointStore
    learner_control: LearnerControl
    meters: RunMeters
    history: RoundHistory
    baseline: Baseline
    totals: RunTotals
    checkpoints: CheckpointWriter
    guard: GuardWatch
    fingerprint: dict[str, object]


def build_parts(config: Config, inputs: LoopInputs, folder: RunFolder, progress: Progress) -> LoopParts:
    """All parts of a run in `folder`. Ray must be connected.

    Raises:
        UserError: the record of events is damaged, or the judge's shoppers have no segment of that name.
    """
    source, judge = ray.put(inputs.source), None if inputs.judge is None else ray.put(inputs.judge)
    eval_source = ray.put(inputs.eval_source)
    events, meters = EventLog(folder), RunMeters()
    record_event, segments = events.record_event, segment_shares(config, inputs.judge)
    run_state = RunState(config, inputs.source.products, Ledger(inputs.source.rejected), GroupJournal(folder), segments)
    evaluation = Evaluation(config, list(inputs.eval_source.products), eval_source, judge, folder, segments=segments)
    pipeline = RolloutPipeline(config, meters.clock, meters.throughput, progress, record_event, judge)
    fleet = Fleet(pipeline.pools, config.pools, progress.note)
    store, group = CheckpointStore(folder, config.learner.keep_checkpoints), LearnerGroup(config)
    training = RoundTraining(config, run_state, group, folder, source)
    recovery = LearnerRecovery(config, run_state, group, store, training, progress, record_event)
    prompts = PromptLearning(config, inputs.source.products, progress.note, segments)
    learner_control = LearnerControl(config, run_state, group, training, recovery, prompts, store, pipeline, progress, meters.clock)
    history, baseline = RoundHistory(folder), inputs.baseline
    totals = RunTotals(config, inputs.facts, events, meters, history, baseline, pipeline, fleet, recovery.recoveries)
    fingerprint = run_fingerprint(config, inputs.source.products, evaluation.products)
    guard = GuardWatch(config, run_state, store, progress.note)
    kept = guard.kept_steps
    checkpoints = CheckpointWriter(store, run_state, learner_control, fingerprint, totals.to_json, progress.note, record_event, kept)
    return LoopParts(
        source=source,
        eval_source=eval_source,
        judge=judge,
        events=events,
        run_state=run_state,
        evaluation=evaluation,
        pipeline=pipeline,
        fleet=fleet,
        store=store,
        learner_control=learner_control,
        meters=meters,
        history=history,
        baseline=baseline,
        totals=totals,
        checkpoints=checkpoints,
        guard=guard,
        fingerprint=fingerprint,
    )
