"""The record of what befell a run outlives its driver, and costs the run nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from caig_rl.runs.driver_lock import LeaseLost
from caig_rl.runs.events import EVENTS_FILE, EventLog, read_events
from caig_rl.runs.folder import RunFolder


def eventful(folder: RunFolder) -> EventLog:
    """A worker, the learner and the driver lost, and a product that kills."""
    time = [0.0]
    log = EventLog(folder, lambda: time[0])
    log.record_event("began", "driver")
    time[0] = 60.0
    log.record_event("lost", "renderer", "died", "renderer-0: <b>killed</b>")
    log.record_event("issued_again", "render", detail="shard 0-8")
    log.record_event("replaced", "renderer", seconds=9.0)
    log.record_event("lost", "renderer", "hung", "renderer-1: made no progress")
    time[0] = 120.0
    log.record_event("lost", "learner", "died", "the learner lost a rank")
    log.record_event("regrouped", "learner", seconds=31.0, numbers={"world_size": 1, "rounds": 2, "pairs": 118})
    log.record_event("poison", "render", detail="p6: it kills")
    time[0] = 1000.0
    log.record_event("resumed", "driver", "died", seconds=800.0, numbers={"checkpoint": 3, "rounds": 1})
    log.record_event("ended", "driver", "done")
    log.close()
    return log


def test_events_outlive_their_driver_and_a_line_cut_short_is_left_out_and_mended(run_folder: RunFolder) -> None:
    before = eventful(run_folder).events
    assert read_events(run_folder) == before
    file = Path(run_folder.path(EVENTS_FILE))
    file.write_bytes(file.read_bytes()[:-5])
    again = EventLog(run_folder, lambda: 2000.0)
    assert again.events == before[:-1]
    again.record_event("ended", "driver", "stopped")
    again.close()
    assert read_events(run_folder) == [*before[:-1], again.events[-1]]


def test_a_full_disk_costs_the_run_nothing_and_the_record_is_whole_once_there_is_room(
    run_folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(run_folder)
    write, full = run_folder.write_bytes, [True]

    def maybe(name: str, data: bytes) -> str:
        if full.pop():
            raise OSError("No space left on device")
        return write(name, data)

    full.insert(0, False)
    monkeypatch.setattr(run_folder, "write_bytes", maybe)
    log.record_event("began", "driver")
    log.record_event("lost", "policy", "died")
    log.close()
    assert [event.kind for event in read_events(run_folder)] == ["began", "lost"]


def test_a_driver_that_lost_its_folder_appends_nothing(run_folder: RunFolder) -> None:
    class Lost:
        def check(self) -> None:
            raise LeaseLost("it is another's")

        async def until_lost(self) -> None:
            self.check()

    log = EventLog(run_folder)
    log.record_event("began", "driver")
    log.close()
    again = EventLog(run_folder)
    again.record_event("resumed", "driver", "died")
    again._thread.submit(lambda: setattr(run_folder, "lock", Lost()))
    again.record_event("ended", "driver", "failed")
    again.close()
    assert [event.kind for event in read_events(run_folder)] == ["began", "resumed"]
