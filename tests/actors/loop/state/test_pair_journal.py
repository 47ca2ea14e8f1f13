from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from actors.loop.state.pair_journal import PairJournal
from caig_rl.data.pair_table import pairs_from_table, pairs_to_table
from caig_rl.runs.folder import RunFolder
from caig_rl.types import Admission, NegativeKind, PolicyVersion
from tests.actors.loop.state.test_preference_buffer import make_pair_of

PAIR = make_pair_of(Admission(3, 1, "mug", 2**61 + 1), PolicyVersion(1, 2))


def test_a_pair_survives_the_journal_exactly() -> None:
    other = replace(PAIR, negative=NegativeKind.OTHER_TEXT, negative_product_id="hose", negative_instruction="write of the hose")
    assert pairs_from_table(pairs_to_table([PAIR, other])) == [PAIR, other]


def test_a_refused_candidates_score_stays_not_a_number() -> None:
    (again,) = pairs_from_table(pairs_to_table([replace(PAIR, scores=(1.0, math.nan, -1.0))]))
    assert again.scores[0] == 1.0 and math.isnan(again.scores[1])


def test_no_pairs_are_a_table_without_rows() -> None:
    assert pairs_from_table(pairs_to_table([])) == []


def test_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a table of pairs has the columns"):
        pairs_from_table(pa.table({"a": [1]}))


def test_pairs_are_on_disk_as_soon_as_they_arrive_and_replace_those_they_repeat(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    journal = PairJournal(folder)
    first, second = PAIR, replace(PAIR, admission=Admission(2, 1, "hose", 5))
    journal([first])
    assert folder.read_table("pairs/round-00001.parquet").num_rows == 1
    journal([second])
    repeated = replace(first, chosen_score=9.0)
    journal([repeated])
    assert pairs_from_table(folder.read_table("pairs/round-00001.parquet")) == [second, repeated]


def test_pairs_that_a_checkpoint_kept_stay_in_the_file_when_the_rest_of_their_round_arrives(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "run")
    first, second = PAIR, replace(PAIR, admission=Admission(2, 1, "hose", 5))
    journal = PairJournal(folder)
    journal.keep([first])
    journal([second])
    assert pairs_from_table(folder.read_table("pairs/round-00001.parquet")) == [second, first]
