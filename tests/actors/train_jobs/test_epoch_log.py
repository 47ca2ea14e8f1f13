"""Which epochs a training job has told of, when a group begins again: every epoch once, whatever was lost."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from actors.train_jobs.epoch_log import EpochLog
from caig_rl.errors import UserError
from caig_rl.learning.trainer import Progress


def done(epoch: int) -> Progress:
    return Progress(epoch=epoch, step=10 * epoch, examples=48, train_loss=1.0 / epoch, validation_loss=0.5, best_epoch=1, best_loss=0.5)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_an_epoch_that_lost_its_checkpoint_loses_its_row_and_is_told_once(tmp_path: Path):
    log = EpochLog(tmp_path / "job")
    for epoch in (1, 2, 3):
        log.note(done(epoch))
    # Killed before the controller took the third report: the group goes on from the second.
    again = EpochLog(tmp_path / "job")
    again.settle(done(2))
    assert [row["round"] for row in rows(tmp_path / "job")] == [1, 2]
    assert again.progress() == done(2)
    again.note(done(3))
    assert [row["round"] for row in rows(tmp_path / "job")] == [1, 2, 3]


def test_an_epoch_that_was_killed_before_its_row_gets_it_from_the_checkpoint(tmp_path: Path):
    EpochLog(tmp_path / "job").note(done(1))
    EpochLog(tmp_path / "job").settle(done(2))
    assert [(row["round"], row["step"]) for row in rows(tmp_path / "job")] == [(1, 10), (2, 20)]


def test_a_job_without_any_checkpoint_begins_with_no_rows(tmp_path: Path):
    EpochLog(tmp_path / "job").note(done(1))
    EpochLog(tmp_path / "job").settle(Progress())
    assert rows(tmp_path / "job") == []


def test_settling_what_is_in_order_changes_nothing(tmp_path: Path):
    log = EpochLog(tmp_path / "job")
    log.note(done(1))
    before = (tmp_path / "job" / "metrics.jsonl").read_bytes()
    log.settle(done(1))
    assert (tmp_path / "job" / "metrics.jsonl").read_bytes() == before


def test_what_is_not_known_comes_back_as_numbers_that_are_not_finite(tmp_path: Path):
    log = EpochLog(tmp_path / "job")
    log.note(Progress(epoch=1, dropped=3, stopped="broken_steps"))
    found = log.progress()
    assert (found.epoch, found.dropped, found.stopped, found.best_epoch) == (1, 3, "broken_steps", 0)
    assert math.isnan(found.train_loss) and math.isnan(found.validation_loss) and math.isinf(found.best_loss)


def test_a_job_that_never_began_stands_nowhere(tmp_path: Path):
    with pytest.raises(UserError, match=r"progress\.json is missing"):
        EpochLog(tmp_path / "job").progress()
