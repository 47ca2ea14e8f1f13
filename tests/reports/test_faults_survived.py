"""What a run tells of what befell it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caig_rl.errors import UserError
from caig_rl.reports.faults_survived import survived_section
from caig_rl.reports.run_report import render_report
from caig_rl.runs.driver_lock import LeaseLost
from caig_rl.runs.events import EVENTS_FILE, EventLog, read_events
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary


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


def test_the_report_tells_of_all_of_it_and_escapes_what_was_said(complete_run: RunFolder) -> None:
    eventful(complete_run)
    page = render_report(complete_run).replace("\u00a0", " ")
    for expected in (
        "2 workers were lost, 1 learner group was lost, 1 driver was followed by a new one, 1 shard was issued again",
        "1 rank, 2 rounds were rolled back and trained again (118 pairs), ready after 31 s",
        "from checkpoint 3, 13 min 20 s after its last word; the driver before it died without a word; 1 round is done again",
        "p6: it kills",
        "renderer-0: &lt;b&gt;killed&lt;/b&gt;",
        "Driver resumed at 3 min 20 s",
    ):
        assert expected in page, expected


def test_a_run_to_which_nothing_happened_says_so_in_one_line(run_folder: RunFolder, summary_values: Callable[..., dict[str, Any]]) -> None:
    log = EventLog(run_folder)
    log.record_event("began", "driver")
    log.record_event("ended", "driver", "done")
    log.close()
    section = survived_section(RunSummary.model_validate(summary_values()), log.events)
    assert section.quiet.startswith("Nothing happened:") and section.quiet.endswith("from beginning to end.") and not section.svg
    under_way = survived_section(RunSummary.model_validate(summary_values(status="running")), log.events[:1])
    assert under_way.quiet.startswith("Nothing happened so far:") and "end" not in under_way.quiet


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "samples/gallery.json", "ledger.parquet", "config.yaml", EVENTS_FILE])
@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"\xff\xfe\x80PAR1\x00garbage\xc3\x28"], ids=["zeros", "noise"])
def test_a_report_of_a_damaged_file_names_it_and_what_to_do(complete_run: RunFolder, name: str, garbage: bytes) -> None:
    complete_run.write_bytes(name, garbage + b"\n")
    with pytest.raises(UserError, match=rf"{name} is damaged, .*Put a sound copy back") as caught:
        render_report(complete_run)
    assert "\n" not in str(caught.value)
