from __future__ import annotations

from caig_rl.runs.folder import RunFolder
from caig_rl.runs.survived_counts import survived
from tests.runs.test_events import eventful


def test_counts_are_over_all_lives(run_folder: RunFolder) -> None:
    found = survived(eventful(run_folder).events)
    assert found.lost == {"learner": {"died": 1}, "renderer": {"died": 1, "hung": 1}}
    assert (found.resumes, found.regrouped, found.rounds_again, found.pairs_again, found.poison) == (1, 1, 3, 118, 1)
    assert found.replaced == {"renderer": 1} and found.shards_issued_again == {"render": 1}
