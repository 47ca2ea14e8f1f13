from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.loop.state.group_journal import GroupJournal
from caig_rl.data.group_table import groups_from_table
from caig_rl.runs.folder import RunFolder
from caig_rl.types import Admission, PolicyVersion
from tests.actors.loop.state.test_preference_buffer import make_pair_of

PAIR = make_pair_of(Admission(3, 1, "mug", 2**61 + 1), PolicyVersion(1, 2))


def test_pairs_are_on_disk_as_soon_as_they_arrive_and_replace_those_they_repeat(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    journal = GroupJournal(folder)
    first, second = PAIR, replace(PAIR, admission=Admission(2, 1, "hose", 5))
    journal([first])
    assert folder.read_table("pairs/round-00001.parquet").num_rows == 1
    journal([second])
    repeated = replace(first, shaped=(0.7, -0.7))
    journal([repeated])
    assert groups_from_table(folder.read_table("pairs/round-00001.parquet")) == [second, repeated]


def test_pairs_that_a_checkpoint_kept_stay_in_the_file_when_the_rest_of_their_round_arrives(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    first, second = PAIR, replace(PAIR, admission=Admission(2, 1, "hose", 5))
    journal = GroupJournal(folder)
    journal.keep([first])
    journal([second])
    assert groups_from_table(folder.read_table("pairs/round-00001.parquet")) == [second, first]
