"""The first event of each life of a run: it began, or was resumed, from where, and after how long without a driver."""

from __future__ import annotations

import time

from actors.loop.round_history import rounds_written
from caig_rl.runs.events import DRIVER, EventLog
from caig_rl.runs.folder import RunFolder


def record_beginning(events: EventLog, folder: RunFolder, last_seen_s: float | None, resume: bool, checkpoint: int | None) -> None:
    """The driver begins; with `resume` from `checkpoint`, or anew where there is none.

    Args:
        events: those of earlier lives are in it.
        folder: holds the rounds that earlier lives wrote.
        last_seen_s: when the driver before wrote for the last time, seconds since the epoch; None where that is not known.
        resume: the run was begun before.
        checkpoint: rounds done in the checkpoint that it goes on from.
    """
    if not resume:
        events.record_event("began", DRIVER)
        return
    last = events.events[-1] if events.events else None
    seen = max((one for one in (last_seen_s, None if last is None else last.at_s) if one is not None), default=None)
    numbers = {"rounds": len([one for one in rounds_written(folder) if one >= (checkpoint or 0)])}
    events.record_event(
        "resumed",
        DRIVER,
        last.reason if last is not None and last.kind == "ended" else "died",
        seconds=None if seen is None else max(0.0, time.time() - seen),
        numbers=numbers if checkpoint is None else numbers | {"checkpoint": checkpoint},
    )
