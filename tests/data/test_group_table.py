from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caig_rl.data.group_table import groups_from_table, groups_to_table
from caig_rl.types import Admission, NegativeKind, PolicyVersion
from tests.actors.loop.state.test_preference_buffer import make_pair_of

PAIR = make_pair_of(Admission(3, 1, "mug", 2**61 + 1), PolicyVersion(1, 2))


def test_a_pair_survives_the_table_exactly() -> None:
    other = replace(PAIR, negative=NegativeKind.OTHER_TEXT, negative_product_id="hose", negative_instruction="write of the hose")
    assert groups_from_table(groups_to_table([PAIR, other])) == [PAIR, other]


def test_a_journal_from_before_negatives_had_the_configurations_names_is_read() -> None:
    for name, kind in (("masked_image", NegativeKind.MASKED_IMAGE), ("other_text", NegativeKind.OTHER_TEXT)):
        rows = groups_to_table([PAIR]).drop_columns(["negative"]).append_column("negative", pa.array([name]))
        assert groups_from_table(rows) == [replace(PAIR, negative=kind)]
    with pytest.raises(ValueError, match="'masked'"):
        NegativeKind("masked")


def test_a_refused_candidates_score_stays_not_a_number() -> None:
    group = replace(PAIR, candidates=(*PAIR.candidates, PAIR.candidates[0]), scores=(1.0, math.nan, -1.0), shaped=(0.5, math.nan, -0.5))
    (again,) = groups_from_table(groups_to_table([group]))
    assert again.scores[0] == 1.0 and math.isnan(again.scores[1]) and math.isnan(again.rewards[1])
    assert (again.best, again.worst, again.usable) == (0, 2, (0, 2))


def test_the_guards_scores_stay_and_a_journal_of_before_them_has_none() -> None:
    guarded = replace(PAIR, guard_scores=(0.25, math.nan))
    (again,) = groups_from_table(groups_to_table([guarded]))
    assert again.guard_scores[0] == 0.25 and math.isnan(again.guard_scores[1])
    assert groups_from_table(groups_to_table([PAIR]).drop_columns(["guard_scores"])) == [PAIR]


def test_a_table_of_pairs_is_read_as_groups_of_two() -> None:
    old = Path(__file__).parents[1] / "actors/checkpoints/demo_of_d435bbc/checkpoints/7/state-0/pairs.parquet"
    table = pq.read_table(old)
    assert "chosen" in table.schema.names and groups_from_table(table) == []
    row = groups_to_table([PAIR]).drop_columns(["candidates", "shaped", "guard_scores"])
    chosen, rejected = groups_to_table([PAIR]).column("candidates").to_pylist()[0]
    for name, value in (("chosen", chosen), ("rejected", rejected), ("chosen_score", 1.0), ("rejected_score", -1.0)):
        row = row.append_column(table.schema.field(name), pa.array([value], table.schema.field(name).type))
    assert groups_from_table(row) == [PAIR]


def test_no_pairs_are_a_table_without_rows() -> None:
    assert groups_from_table(groups_to_table([])) == []


def test_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a table of preference groups has the columns"):
        groups_from_table(pa.table({"a": [1]}))


def test_a_groups_segment_is_kept_and_a_journal_of_before_has_none() -> None:
    group = replace(PAIR, admission=replace(PAIR.admission, segment="teens"))
    table = groups_to_table([group])
    assert groups_from_table(table) == [group]
    assert groups_from_table(table.drop_columns(["segment"])) == [PAIR]
