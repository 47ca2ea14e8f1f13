"""What a run tells of what befell it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caig_rl.errors import UserError
from caig_rl.reports.faults_survived import survived_section
from caig_rl.reports.run_report import render_report
from caig_rl.runs.events import EVENTS_FILE, EventLog
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.summary import RunSummary
from tests.runs.test_events import eventful


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
