from __future__ import annotations

import pyarrow as pa
import pytest

from caig_rl.runs.ledger import Ledger
from caig_rl.runs.summary import ProductCounts
from caig_rl.types import Admission, Outcome, PolicyVersion, Rejected

REJECTED = Rejected("products.csv row 12", "image_missing", "sofa.png is not there")


def ledger_of(*numbers: int) -> Ledger:
    ledger = Ledger([REJECTED])
    for number in numbers:
        ledger.admit(Admission(number, round=0, product_id=f"p{number}", seed=2**64 - 1 - number))
    return ledger


def test_counts_add_up_and_fit_the_summary() -> None:
    ledger = ledger_of(0, 1, 2, 3, 4, 5)
    ledger.finish(0, Outcome.TRAINED)
    ledger.finish(1, Outcome.FAILED, "unusable")
    ledger.finish(2, Outcome.FAILED, "unusable")
    ledger.finish(3, Outcome.EXPIRED)
    ledger.finish(4, Outcome.TIED)
    expected = {
        "admitted": 5,
        "trained": 1,
        "failed": {"unusable": 2},
        "expired": 1,
        "tied": 1,
        "rejected": {"image_missing": 1},
        "in_flight": 1,
    }
    assert ledger.counts() == expected
    assert ProductCounts.model_validate(ledger.counts()).admitted == 5


def test_open_admissions_come_in_order_of_their_ids() -> None:
    ledger = ledger_of(7, 3, 5)
    ledger.finish(5, Outcome.TIED)
    assert [admission.admission_id for admission in ledger.open_admissions()] == [3, 7]


def test_a_second_outcome_is_a_bug() -> None:
    ledger = ledger_of(0)
    ledger.finish(0, Outcome.TRAINED)
    with pytest.raises(AssertionError, match="admission 0 is trained already, and cannot become tied"):
        ledger.finish(0, Outcome.TIED)


def test_an_outcome_without_an_admission_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="never admitted"):
        ledger_of(0).finish(1, Outcome.TRAINED)


def test_admitting_twice_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="admitted before"):
        ledger_of(0, 0)


def test_a_failure_without_a_kind_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="without a kind"):
        ledger_of(0).finish(0, Outcome.FAILED)


def test_the_table_has_a_row_for_every_admission_and_rejected_row() -> None:
    ledger = ledger_of(0, 1)
    ledger.finish(0, Outcome.FAILED, "lost", message="node went away", version=PolicyVersion(1, 4), attempts=2, round=1, worker="r3")
    rows = ledger.to_table().to_pylist()
    assert [row["outcome"] for row in rows] == ["failed", None, "rejected"]
    first = {"round": 0, "seed": 2**64 - 1, "version": "1.4", "kind": "lost", "attempts": 2, "finished_round": 1, "worker": "r3"}
    assert first.items() <= rows[0].items()
    assert (rows[2]["where"], rows[2]["kind"], rows[2]["admission_id"]) == ("products.csv row 12", "image_missing", None)


def test_an_outcome_falls_in_the_round_of_its_admission_unless_told() -> None:
    ledger = ledger_of(0)
    ledger.finish(0, Outcome.TRAINED)
    assert ledger.to_table()["finished_round"][0].as_py() == 0


def test_a_ledger_goes_on_from_its_table() -> None:
    ledger = ledger_of(0, 1)
    ledger.finish(0, Outcome.TRAINED, version=PolicyVersion(0, 2))
    restored = Ledger.from_table(ledger.to_table())
    assert restored.to_table().equals(ledger.to_table())
    assert restored.rejected == (REJECTED,)
    restored.finish(1, Outcome.TIED)
    assert restored.open_admissions() == []


def test_scores_of_a_round_come_back_by_product_where_both_models_gave_one() -> None:
    ledger = ledger_of(0, 1, 2)
    ledger.admit(Admission(3, round=1, product_id="p0", seed=3))
    for number, scores in enumerate([(0.1, 0.7), (0.2, None), (None, None), (0.4, 0.3)]):
        ledger.scored(number, *scores)
    ledger.finish(0, Outcome.TIED)
    restored = Ledger.from_table(ledger.to_table())
    assert restored.guarded_rounds(2) == {0: {"p0": (0.1, 0.7)}, 1: {"p0": (0.4, 0.3)}}
    assert restored.guarded_rounds(1) == {0: {"p0": (0.1, 0.7)}} and restored.to_table().equals(ledger.to_table())
    with pytest.raises(AssertionError, match="admission 0 is tied already"):
        ledger.scored(0, 0.5, 0.5)


def test_a_ledger_of_before_scores_were_kept_is_taken_up_without_them() -> None:
    ledger = ledger_of(0, 1)
    ledger.finish(0, Outcome.TRAINED)
    old = ledger.to_table().drop_columns(["score", "guard_score", "segment"])
    assert Ledger.from_table(old).to_table().equals(ledger.to_table())


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="not \\['clicks'\\]"):
        Ledger.from_table(pa.table({"clicks": [1]}))


def trained(*rounds: int) -> Ledger:
    """One admission in each round, trained to version 0.(round + 1)."""
    ledger = Ledger()
    for number in rounds:
        ledger.admit(Admission(number, round=number, product_id=f"p{number}", seed=number))
        ledger.finish(number, Outcome.TRAINED, learned=PolicyVersion(0, number + 1))
    return ledger


def test_what_was_trained_after_the_checkpoint_is_marked_and_leaves_the_lineage() -> None:
    ledger = trained(0, 1, 2)
    assert ledger.roll_back(1) == [1, 2]
    assert ledger.learned() == {0: (0, PolicyVersion(0, 1)), 1: (1, None), 2: (2, None)}
    assert ledger.to_table().column("rolled_back").to_pylist() == [[], ["0.2"], ["0.3"]]
    assert (ledger.to_replay(1), ledger.to_replay(0)) == ([1], [])


def test_a_replayed_row_is_in_the_lineage_again_and_keeps_its_mark() -> None:
    ledger = trained(0, 1)
    ledger.roll_back(0)
    ledger.replay([0], PolicyVersion(1, 1))
    assert ledger.roll_back(0) == [0, 1], "the second rollback takes the replayed row back too"
    for number in (0, 1):
        ledger.replay([number], PolicyVersion(2, number + 1))
    assert ledger.to_table().column("rolled_back").to_pylist() == [["0.1", "1.1"], ["0.2"]]
    assert Ledger.from_table(ledger.to_table()).to_table().equals(ledger.to_table())
    assert ledger.counts()["trained"] == 2 and ledger.first_not_learned() is None


def test_training_a_row_twice_in_one_lineage_is_a_bug() -> None:
    ledger = trained(0)
    with pytest.raises(AssertionError, match="admission 0 was not rolled back"):
        ledger.replay([0], PolicyVersion(1, 1))


def test_a_fall_that_would_keep_rounds_not_yet_trained_again_is_a_bug() -> None:
    ledger = trained(0, 1, 2)
    assert ledger.roll_back(1) == [1, 2] and ledger.first_not_learned() == 1
    with pytest.raises(AssertionError, match="round 1 is in no weights yet"):
        ledger.roll_back(2)


def test_a_segment_is_kept_and_a_ledger_of_before_has_none() -> None:
    ledger = Ledger()
    ledger.admit(Admission(0, 0, "p0", 7, "teens"))
    ledger.finish(0, Outcome.TIED)
    table = ledger.to_table()
    assert table["segment"].to_pylist() == ["teens"] and Ledger.from_table(table).to_table().equals(table)
    old = Ledger.from_table(table.drop_columns(["segment"]))
    assert old.to_table()["segment"].to_pylist() == [""] and old.counts() == ledger.counts()
