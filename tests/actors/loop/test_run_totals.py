"""The parts that count meet in the checkpoint and in the summary, each with its own numbers."""

from __future__ import annotations

import json
from typing import Any

from actors.loop.learning.learner_recovery import Recoveries
from actors.loop.run_totals import RunTotals
from actors.telemetry.summary_builder import RunFacts
from caig_rl.config.schema import Config
from caig_rl.runs.summary import Replay
from tests.actors.rollout.test_fleet import FakePool, _fleet
from tests.actors.rollout.test_worker_health import Clock

UNUSED: Any = None


def _totals(recoveries: Recoveries) -> RunTotals:
    fleet = _fleet(Clock(), [], set(), renderer=FakePool(most=2))
    return RunTotals(Config(), RunFacts(), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, fleet, recoveries)


def test_the_summary_of_the_fleet_has_the_workers_and_the_learner_group() -> None:
    replay = Replay(incarnation=1, round=3, pairs=80)
    summary = _totals(Recoveries(2, [replay])).fleet_summary()
    assert (summary.replaced, summary.stuck, summary.learner_restarts, summary.replayed) == ({"renderer": 2}, {"renderer": 1}, 2, (replay,))


def test_in_a_checkpoint_each_part_writes_its_own_keys_alone() -> None:
    totals = _totals(Recoveries(2, [Replay(incarnation=1, round=3, pairs=80)]))
    fleet, learner = totals.fleet.to_json(), totals.recoveries.to_json()
    assert set(fleet) == {"replaced", "stuck", "scaling", "seconds"} and set(learner) == {"learner_restarts", "replayed"}
    again = Recoveries()
    again.restore(json.loads(json.dumps(fleet | learner)))
    assert again == totals.recoveries
