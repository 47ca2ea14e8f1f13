from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from actors.book import RunBook
from actors.journal import PairJournal
from actors.pairing import NoPair
from actors.shards import Shard
from caig_rl.config.load import load_config
from caig_rl.evaluation.ledger import Ledger
from caig_rl.evaluation.run_folder import RunFolder
from caig_rl.types import Judgement, Outcome, PolicyVersion, Product
from tests.actors.test_buffer import V0, make_pair_of

PRODUCTS = [Product(f"p{i}", f"title {i}", "mugs") for i in range(10)]
TIE = NoPair(Outcome.TIED)


def _book(folder: Path, staleness: int = 0) -> RunBook:
    sizes = ["rollout.rounds=3", "rollout.products_per_round=4", "rollout.shard_size=2", f"rollout.max_staleness={staleness}"]
    return RunBook(load_config(None, sizes), PRODUCTS, Ledger(), PairJournal(RunFolder(str(folder), "run")))


def _open_next(book: RunBook) -> list[Shard]:
    number, shards = book.rounds_admitted, book.admit_next()
    book.open_round(number, shards)
    return shards


def _arrive(book: RunBook, shard: Shard, version: PolicyVersion = V0) -> None:
    book.buffer.add_pairs([make_pair_of(admission, version) for admission in shard.admissions])
    book.written(shard.admissions[0].round, shard)


def _learn(book: RunBook, number: int) -> None:
    book.take_pairs(number)
    book.version = PolicyVersion(book.version.incarnation, number + 1)
    book.weights_live(number)


def test_on_policy_a_round_waits_for_the_one_before_to_be_live(tmp_path: Path) -> None:
    book = _book(tmp_path)
    assert book.may_admit(0)
    for shard in _open_next(book):
        assert not book.can_learn(0) and not book.may_admit(1)
        _arrive(book, shard)
    assert book.can_learn(0) and not book.may_admit(1)
    _learn(book, 0)
    assert book.may_admit(1)


def test_at_a_staleness_of_one_a_second_round_may_start_and_a_third_not(tmp_path: Path) -> None:
    book = _book(tmp_path, staleness=1)
    _open_next(book)
    assert book.may_admit(1)
    _open_next(book)
    assert not book.may_admit(2)


def test_new_weights_wait_for_the_prompts_that_the_old_ones_are_to_write(tmp_path: Path) -> None:
    book = _book(tmp_path, staleness=1)
    for shard in _open_next(book):
        book.written(0, shard)
    assert book.prompts_written(0) and not book.prompts_written(1), "round 1 is not even admitted"
    first, second = _open_next(book)
    book.written(1, first)
    assert not book.prompts_written(1)
    book.written(1, second)
    assert book.prompts_written(1)


def test_a_book_restored_in_mid_round_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    book = _book(tmp_path)
    for shard in _open_next(book):
        _arrive(book, shard)
    _learn(book, 0)
    book.close_round(0)
    arrived, tied = _open_next(book)
    _arrive(book, arrived, PolicyVersion(0, 1))
    book.buffer.drop(tied.admissions[0], TIE)
    notes = book.intake.notes[1]
    notes.tied, notes.scores, notes.judgements = 1, [0.5, math.nan], [Judgement(0.02, 0.7)]
    state = book.state({"own": 1})

    again = _book(tmp_path / "elsewhere")
    again.restore(state)
    assert (again.rounds_done, again.rounds_admitted, again.version) == (1, 2, PolicyVersion(1, 1))
    (left,) = again.shards_in_flight(1)
    assert left.admissions == tied.admissions[1:]
    assert again.buffer.ready() == book.buffer.ready()
    assert again.intake.notes[1].tied == 1 and math.isnan(again.intake.notes[1].scores[1])
    assert again.intake.notes[1].judgements == notes.judgements
    again.open_round(1, [left])
    _arrive(again, left, PolicyVersion(1, 1))
    assert [pair.admission.admission_id for pair in again.take_pairs(1)] == [4, 5, 7]
    _learn(again, 1)
    assert [one.admissions for one in again.admit_next()] == [one.admissions for one in _after(book, tied)]


def _after(book: RunBook, tied: Shard) -> list[Shard]:
    book.buffer.add_pairs([make_pair_of(tied.admissions[1], PolicyVersion(0, 1))])
    _learn(book, 1)
    return book.admit_next()


def test_a_state_fits_into_json(tmp_path: Path) -> None:
    book = _book(tmp_path)
    _open_next(book)
    book.intake.notes[0].scores = [math.nan]
    assert json.loads(json.dumps(book.state({}).extra, allow_nan=False))["notes"]["0"]["scores"] == [None]


def test_after_a_fall_pairs_of_the_discarded_weights_expire_and_the_others_are_taken_again(tmp_path: Path) -> None:
    book = _book(tmp_path, staleness=1)
    first = _open_next(book)
    second = _open_next(book)
    for shard in first:
        _arrive(book, shard)
    _learn(book, 0)
    _arrive(book, second[0], PolicyVersion(0, 0))
    _arrive(book, second[1], PolicyVersion(0, 1))
    assert len(book.take_pairs(1)) == 4
    book.fall_back(book.next_incarnation(), 0)
    assert book.version == PolicyVersion(1, 1)
    assert [pair.version for pair in book.take_pairs(1)] == [PolicyVersion(0, 0)] * 2
    assert book.ledger.counts()["expired"] == 2


def test_an_incarnation_that_came_to_nothing_is_not_named_again(tmp_path: Path) -> None:
    book = _book(tmp_path)
    assert [book.next_incarnation(), book.next_incarnation()] == [1, 2]
    book.fall_back(2, 0)
    assert book.next_incarnation() == 3


def test_a_fall_is_remembered_across_a_resume_so_that_pairs_of_discarded_weights_still_expire(tmp_path: Path) -> None:
    """They waited in the checkpoint: the round that takes them had not come yet when it was written."""
    book = _book(tmp_path, staleness=1)
    for shard in _open_next(book):
        _arrive(book, shard)
    _learn(book, 0)
    discarded, kept = _open_next(book)
    _arrive(book, discarded, PolicyVersion(0, 1))
    book.fall_back(book.next_incarnation(), 0)
    _arrive(book, kept, PolicyVersion(1, 1))
    state = book.state({})

    again = _book(tmp_path / "elsewhere", staleness=1)
    again.restore(replace(state, extra=json.loads(json.dumps(state.extra))))
    assert [pair.version for pair in again.take_pairs(1)] == [PolicyVersion(1, 1)] * 2
    assert again.ledger.counts()["expired"] == 2
