"""A stage of the build in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from caig_rl.errors import UserError
from caig_rl.nano.isolated import Stopped, in_own_process
from tests.nano.counting import counted, died, endless, waits_for_endless


def is_there(pid: int) -> bool:
    """False for one that has ended and was not collected yet, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(file: Path) -> int:
    limit = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return int(file.read_text())


def test_a_stage_in_its_own_process_reports_returns_and_fails_as_here():
    seen: list[int] = []
    assert in_own_process(counted, 3, progress=lambda stage, step, total, loss: seen.append(step)) == 3
    assert seen == [1, 2, 3]
    with pytest.raises(UserError, match="below zero") as failed:
        in_own_process(counted, -1, progress=lambda *step: None)
    assert "counting.py" in failed.value.__notes__[0]


def test_a_stage_that_is_stopped_is_gone(tmp_path: Path):
    file = tmp_path / "pid"
    with pytest.raises(Stopped):
        in_own_process(endless, file, progress=lambda *step: None, is_stopped=file.exists)
    assert not is_there(pid_in(file))


def test_a_stage_whose_process_dies_is_an_error_that_says_so():
    with pytest.raises(UserError, match="died: its process died with exit code -9"):
        in_own_process(died, progress=lambda *step: None)


def test_a_stage_does_not_outlive_the_process_that_waits_for_it(tmp_path: Path):
    file = tmp_path / "pid"
    parent = multiprocessing.get_context("spawn").Process(target=waits_for_endless, args=(file,))
    parent.start()
    pid = pid_in(file)
    assert parent.pid is not None
    os.kill(parent.pid, 9)
    parent.join()
    limit = time.monotonic() + 30
    while is_there(pid):
        assert time.monotonic() < limit, "the stage outlived its driver"
        time.sleep(0.1)
