from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors.loop.run_beginning import record_beginning
from caig_rl.runs.events import EventLog
from caig_rl.runs.folder import RunFolder


def _log(tmp_path: Path, *rounds: int) -> tuple[EventLog, RunFolder]:
    folder = RunFolder(str(tmp_path), "run")
    folder.write_text("metrics.jsonl", "".join(f'{{"round": {number}}}\n' for number in rounds))
    return EventLog(folder), folder


def test_a_run_that_is_new_began(tmp_path: Path) -> None:
    events, folder = _log(tmp_path)
    record_beginning(events, folder, None, resume=False, checkpoint=None)
    assert [(event.kind, event.role, event.numbers) for event in events.events] == [("began", "driver", {})]


def test_a_resume_says_from_where_after_how_long_and_which_rounds_are_done_again(tmp_path: Path) -> None:
    events, folder = _log(tmp_path, 0, 1, 2)
    record_beginning(events, folder, time.time() - 90.0, resume=True, checkpoint=2)
    (event,) = events.events
    assert (event.kind, event.reason, event.numbers) == ("resumed", "died", {"checkpoint": 2, "rounds": 1})
    assert event.seconds == pytest.approx(90.0, abs=20.0)


def test_a_resume_without_a_checkpoint_begins_anew_and_knows_how_the_life_before_ended(tmp_path: Path) -> None:
    events, folder = _log(tmp_path)
    events.record_event("ended", "driver", "stopped")
    record_beginning(events, folder, None, resume=True, checkpoint=None)
    event = events.events[-1]
    assert (event.kind, event.reason, event.numbers) == ("resumed", "stopped", {"rounds": 0})
    assert event.seconds is not None and event.seconds >= 0.0


def test_nobody_knows_for_how_long_there_was_no_driver_where_no_life_left_a_trace(tmp_path: Path) -> None:
    events, folder = _log(tmp_path)
    record_beginning(events, folder, None, resume=True, checkpoint=None)
    assert events.events[-1].seconds is None and events.events[-1].reason == "died"
