"""What is seen of a loop: its real parts, not started."""

from actors.loop.loop_snapshot import observe
from actors.loop.state.preference_buffer import PreferenceBuffer
from actors.rollout.pipeline import RolloutPipeline
from actors.telemetry.live_file import live_json
from actors.telemetry.memory import MemoryMeter
from actors.telemetry.progress import Silent
from actors.telemetry.stage_times import StageClock
from actors.telemetry.throughput import Throughput
from caig_rl.config.schema import Config
from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import FleetSummary
from caig_rl.types import Admission, Outcome, PolicyVersion


def test_slots_outcomes_pools_and_staleness_are_those_of_the_parts():
    ledger = Ledger()
    buffer = PreferenceBuffer(6, 1, ledger, lambda pairs: None)
    buffer.admit([Admission(number, 2, f"p{number}", number) for number in range(4)])
    ledger.finish(0, Outcome.TRAINED, version=PolicyVersion(0, 2), round=2)
    ledger.finish(1, Outcome.TRAINED, version=PolicyVersion(0, 1), round=2)
    ledger.finish(2, Outcome.FAILED, "unusable")
    clock, throughput = StageClock(), Throughput()
    throughput.add(images=7)
    seen = observe(
        rounds_planned=5,
        rounds_done=2,
        version=PolicyVersion(1, 2),
        pipeline=RolloutPipeline(Config(), clock, throughput, Silent()),
        ranks=(0, 2),
        buffer=buffer,
        ledger=ledger,
        clock=clock,
        throughput=throughput,
        memory=MemoryMeter(),
        details=(),
        fleet=FleetSummary(replaced={"policy": 3}, stuck={}, learner_restarts=1),
    )
    assert seen.slots == {"in_flight": 4, "ready": 0, "training": 0, "free": 2}
    assert seen.products == {"trained": 2, "failed": 1, "expired": 0, "tied": 0}
    assert list(seen.staleness) == [0, 1]
    assert (seen.pools["learner"].desired, seen.pools["learner"].ready) == (2, 0)
    assert (seen.pools["policy"].desired, seen.pools["policy"].ready) == (1, 0)
    assert seen.counts["images"] == 7 and seen.memory_bytes > 1e6
    assert (seen.pools["learner"].replaced, seen.pools["policy"].replaced, seen.learner_restarts, seen.incarnation) == (1, 3, 1, 1)
    live = live_json(seen)
    assert live["staleness"] == {"0": 1, "1": 1}
