from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from actors.chaos.fault_plan import FaultKind, FaultPlan, PlannedFault
from actors.chaos.fault_records import FaultRecords
from actors.chaos.supported_faults import fitting
from caig_rl.config.schema import Config
from caig_rl.errors import ConfigError

ALL = tuple(FaultKind)
WORKER, RANK, DRIVER, SLOW = FaultKind.WORKER, FaultKind.RANK, FaultKind.DRIVER, FaultKind.SLOW


def _planned(seed: int, life: int = 0) -> list[PlannedFault]:
    return list(islice(FaultPlan(seed, 30.0, ALL, life).faults(), 400))


def test_seed_and_life_decide_what_breaks_and_when() -> None:
    assert _planned(3) == _planned(3) != _planned(4)
    assert _planned(3) != _planned(3, life=1)


def test_faults_come_as_often_as_asked_and_of_every_kind() -> None:
    planned = _planned(0)
    assert sum(fault.delay_s for fault in planned) / len(planned) == pytest.approx(30.0, rel=0.15)
    assert set(Counter(fault.kind for fault in planned)) == set(ALL)


def test_a_draw_names_the_pool_that_is_hit() -> None:
    assert [PlannedFault(0.0, WORKER, draw).target for draw in (0, 1, 5)] == ["policy pool", "renderer pool", "scorer pool"]
    assert all(PlannedFault(0.0, kind, 0).target for kind in ALL)


def _config(**sections: dict[str, Any]) -> Config:
    return Config.model_validate(sections)


def test_a_default_kind_that_would_show_nothing_is_left_out_with_a_note() -> None:
    kinds, notes = fitting(None, _config(), 120.0, has_cluster=False)
    assert SLOW not in kinds and WORKER in kinds
    assert notes == [note for note in notes if note.startswith("left out, slow: recovery.stall_s=600 is longer than the 120 s")] and notes
    assert fitting(None, _config(recovery={"stall_s": 60}), 120.0, has_cluster=False)[1] == []


@pytest.mark.parametrize(
    ("kind", "sections", "reason"),
    [
        ("slow", {}, "recovery.stall_s=600"),
        ("node", {}, "one node"),
        ("rank", {"recovery": {"learner_restarts": 0}}, "learner_restarts=0"),
        ("nan", {"reward": {"kind": "random"}}, "reward.kind=random"),
        ("disk", {"rollout": {"rounds": 2}, "learner": {"checkpoint_every": 2}}, "checkpoint_every=2"),
        ("torn", {"learner": {"keep_checkpoints": 1}}, "keep_checkpoints=1"),
        ("torn", {"run": {"root": "s3://bucket/runs"}}, "no local disk"),
    ],
)
def test_a_kind_that_was_named_and_would_show_nothing_is_refused(kind: str, sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind}: .*{reason}"):
        fitting([FaultKind(kind)], _config(**sections), 120.0, has_cluster=False)


def test_nodes_may_be_killed_on_a_cluster_that_is_joined() -> None:
    assert fitting([FaultKind.NODE], _config(), 120.0, has_cluster=True) == ((FaultKind.NODE,), [])


def test_the_records_go_on_over_lives_and_says_what_became_of_each_fault() -> None:
    kept, now = list[str](), [100.0]
    records = FaultRecords(kept.append, lambda: now[0])
    records.begin_life()
    worker = records.add(WORKER, "policy-1 killed")
    now[0] = 107.0
    records.settle(worker, "replaced")
    records.add(RANK, "learner rank 0")
    records.add(DRIVER, "the driver")
    now[0] = 120.0
    later = FaultRecords.from_json(kept[-1], kept.append, lambda: now[0])
    later.begin_life()
    assert later.lives == 2
    assert [(one.life, one.outcome, one.after_s) for one in later.faults] == [
        (1, "replaced", 7.0),
        (1, "ended with the driver", 13.0),
        (1, "taken up in life 2", 13.0),
    ]
    assert FaultRecords.from_json(kept[-1], kept.append) == FaultRecords(kept.append, lives=2, faults=later.faults)


def test_a_kind_that_never_came_is_named_with_the_reason() -> None:
    records = FaultRecords()
    records.missed(RANK, "the learner is being formed")
    records.add(WORKER, "policy-1 killed")
    rank, slow = records.never((WORKER, RANK, SLOW, RANK))
    assert rank == "rank: the learner is being formed" and slow.startswith("slow: the plan had none due")
    records.add(RANK, "rank 0")
    assert records.never((RANK,)) == [] and records.misses == {}
