from __future__ import annotations

from dataclasses import replace

import pytest

from actors.loop.state.group_selection import NoGroup
from actors.loop.state.preference_buffer import PreferenceBuffer, num_slots
from caig_rl.runs.ledger import Ledger
from caig_rl.types import Admission, NegativeKind, Outcome, PolicyVersion, PreferenceGroup, Rollout

V0 = PolicyVersion(0, 0)
TIE = NoGroup(Outcome.TIED)


def _admissions(first: int, count: int, round_number: int = 0) -> list[Admission]:
    return [Admission(first + i, round_number, f"p{first + i}", 100 + i) for i in range(count)]


def make_pair_of(admission: Admission, version: PolicyVersion = V0) -> PreferenceGroup:
    """A group of two made-up rollouts."""
    one, two = Rollout("a", (1, 2), (-0.5, -0.25)), Rollout("b", (3,), (-1.0,))
    return PreferenceGroup(admission, version, "write", (one, two), (1.0, -1.0), NegativeKind.MASKED_IMAGE, 5)


def _buffer(slots: int = 4, staleness: int = 0) -> tuple[PreferenceBuffer, Ledger, list[PreferenceGroup]]:
    ledger, journal = Ledger(), list[PreferenceGroup]()
    return PreferenceBuffer(slots, staleness, ledger, journal.extend), ledger, journal


def test_the_slot_budget_is_one_round_for_each_version_in_the_air() -> None:
    assert (num_slots(64, 0), num_slots(64, 1)) == (64, 128)


def test_an_admission_holds_its_slot_until_the_new_weights_are_live() -> None:
    buffer, ledger, journal = _buffer()
    admissions = _admissions(0, 4)
    buffer.admit(admissions)
    assert buffer.free_slots == 0
    buffer.add_pairs([make_pair_of(one) for one in admissions])
    assert len(journal) == 4
    assert len(buffer.take_round(0, V0)) == 4 and buffer.free_slots == 0
    assert buffer.weights_live(0, PolicyVersion(0, 1)) == 4 and buffer.free_slots == 4
    assert ledger.counts()["trained"] == 4


def test_a_dropped_admission_gives_its_slot_back_at_once() -> None:
    buffer, ledger, _ = _buffer()
    admissions = _admissions(0, 2)
    buffer.admit(admissions)
    buffer.drop(admissions[0], TIE)
    buffer.drop(admissions[1], NoGroup(Outcome.FAILED, "unusable", "blank"))
    assert buffer.free_slots == 4
    assert (ledger.counts()["tied"], ledger.counts()["failed"]) == (1, {"unusable": 1})


def test_more_admissions_than_slots_cannot_happen() -> None:
    buffer, _, _ = _buffer(slots=2)
    with pytest.raises(AssertionError, match="3 admissions for 2 free slots"):
        buffer.admit(_admissions(0, 3))


def test_the_learner_gets_a_rounds_pairs_in_order_of_admission() -> None:
    buffer, _, _ = _buffer(slots=6)
    early, late = _admissions(0, 3), _admissions(3, 3, round_number=1)
    buffer.admit(early + late)
    buffer.add_pairs([make_pair_of(one) for one in reversed(late)])
    buffer.add_pairs([make_pair_of(one) for one in reversed(early)])
    assert [pair.admission.admission_id for pair in buffer.take_round(0, V0)] == [0, 1, 2]
    # A checkpoint taken while the learner is at work keeps what it is at work on.
    assert [pair.admission.admission_id for pair in buffer.ready()] == [0, 1, 2, 3, 4, 5]
    buffer.weights_live(0, PolicyVersion(0, 1))
    assert [pair.admission.admission_id for pair in buffer.ready()] == [3, 4, 5]


def test_a_round_is_complete_when_nothing_of_it_is_in_flight() -> None:
    buffer, _, _ = _buffer()
    admissions = _admissions(0, 2)
    buffer.admit(admissions + _admissions(2, 1, round_number=1))
    buffer.add_pairs([make_pair_of(admissions[0])])
    assert not buffer.round_is_complete(0)
    buffer.drop(admissions[1], TIE)
    assert buffer.round_is_complete(0) and not buffer.round_is_complete(1)


def test_pairs_older_than_the_staleness_allows_expire() -> None:
    buffer, ledger, _ = _buffer(staleness=1)
    admissions = _admissions(0, 2)
    buffer.admit(admissions)
    buffer.add_pairs([make_pair_of(admissions[0], PolicyVersion(0, 1)), make_pair_of(admissions[1], PolicyVersion(0, 2))])
    taken = buffer.take_round(0, PolicyVersion(0, 3))
    assert [pair.admission.admission_id for pair in taken] == [1]
    assert ledger.counts()["expired"] == 1 and buffer.free_slots == 3


def test_pairs_of_a_discarded_version_expire_also_when_they_are_taken_again() -> None:
    buffer, ledger, _ = _buffer()
    admissions = _admissions(0, 2)
    buffer.admit(admissions)
    buffer.add_pairs([make_pair_of(admissions[0], PolicyVersion(0, 1)), make_pair_of(admissions[1], PolicyVersion(1, 1))])
    assert len(buffer.take_round(0, PolicyVersion(0, 1))) == 2
    taken = buffer.take_round(0, PolicyVersion(2, 1), survives=lambda version: version.incarnation == 1)
    assert [pair.admission.admission_id for pair in taken] == [1]
    assert ledger.counts()["expired"] == 1
    assert buffer.weights_live(0, PolicyVersion(0, 1)) == 1


def test_a_pair_cannot_arrive_twice() -> None:
    buffer, _, _ = _buffer()
    (admission,) = _admissions(0, 1)
    buffer.admit([admission])
    buffer.add_pairs([make_pair_of(admission)])
    with pytest.raises(AssertionError, match="a pair for admission 0"):
        buffer.add_pairs([replace(make_pair_of(admission), negative_seed=6)])


def test_a_restored_buffer_holds_the_same_slots_and_pairs() -> None:
    buffer, ledger, _ = _buffer()
    admissions = _admissions(0, 3)
    buffer.admit(admissions)
    buffer.add_pairs([make_pair_of(admissions[1])])
    again = PreferenceBuffer(4, 0, Ledger.from_table(ledger.to_table()), lambda pairs: None)
    again.restore(buffer.in_flight(), buffer.ready())
    assert (again.free_slots, again.in_flight(), again.ready()) == (1, [admissions[0], admissions[2]], buffer.ready())
    again.drop(admissions[0], TIE)
    assert again.free_slots == 2
