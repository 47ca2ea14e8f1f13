"""The driver's look at what rank 0 writes."""

import time
from pathlib import Path

import pytest

from actors.train_jobs import epoch_progress as module
from actors.train_jobs.epoch_log import EpochLog
from actors.train_jobs.epoch_progress import epoch_progress
from caig_rl.learning.trainer import Progress


def progress(epoch: int) -> Progress:
    return Progress(epoch=epoch, validation_loss=1.0 / epoch if epoch else float("nan"))


def test_each_epoch_is_told_as_it_ends_those_of_an_earlier_life_are_not_and_one_run_again_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    log, told = EpochLog(tmp_path / "reward-job"), []

    def after(count: int) -> list[object]:
        limit = time.monotonic() + 20
        while len(told) < count and time.monotonic() < limit:
            time.sleep(0.01)
        return told

    log.note(progress(1))
    with epoch_progress(tmp_path / "reward-job", lambda row: told.append(row["round"])):
        log.note(progress(2))
        assert after(1) == [2]
        log.note(progress(3))
        assert after(2) == [2, 3]
        log.settle(progress(2))
        time.sleep(0.2)
        log.note(progress(3))
        assert after(3) == [2, 3, 3]
        log.note(progress(4))
    assert told == [2, 3, 3, 4]
