"""Stages that only count, in a module that a new process imports quickly."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from caig_rl.errors import UserError
from caig_rl.nano.isolated import in_own_process

Progress = Callable[[str, int, int, float], None]


def counted(upto: int, progress: Progress) -> int:
    if upto < 0:
        raise UserError("below zero")
    for step in range(upto):
        progress("counting", step + 1, upto, math.nan)
    return upto


def endless(file: Path, progress: Progress) -> None:
    """Writes its process id, and a Ctrl-C does not end it."""
    os.kill(os.getpid(), signal.SIGINT)
    file.write_text(str(os.getpid()))
    while True:
        progress("counting", 0, 1, math.nan)
        time.sleep(0.01)


def died(progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waits_for_endless(file: Path) -> None:
    """What a driver does while a stage runs."""
    in_own_process(endless, file, progress=lambda *step: None)
