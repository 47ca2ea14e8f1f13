from __future__ import annotations

from actors.loop.state.version_lineage import Lineage
from caig_rl.types import PolicyVersion


def _survivors(lineage: Lineage, incarnation: int) -> list[int]:
    return [number for number in range(8) if lineage.survives(PolicyVersion(incarnation, number))]


def test_without_a_fall_every_version_lives() -> None:
    assert _survivors(Lineage(), 0) == list(range(8))


def test_what_was_made_after_the_checkpoint_is_discarded_and_its_numbers_begin_anew() -> None:
    lineage = Lineage()
    lineage.roll_back(PolicyVersion(1, 3))
    assert _survivors(lineage, 0) == [0, 1, 2, 3]
    assert _survivors(lineage, 1) == list(range(8))


def test_a_deeper_fall_discards_what_an_earlier_one_had_kept() -> None:
    lineage = Lineage()
    lineage.roll_back(PolicyVersion(1, 3))
    lineage.roll_back(PolicyVersion(2, 2))
    assert [_survivors(lineage, incarnation) for incarnation in range(3)] == [[0, 1, 2], [0, 1, 2], list(range(8))]
