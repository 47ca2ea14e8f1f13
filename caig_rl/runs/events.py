"""`events.jsonl`: what befell a run, over all lives of its driver, a JSON object a line, written as it happens.

A life is one process of the driver: it opens with "began" or "resumed" and closes with "ended", unless the process was killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caig_rl.runs.folder import RunFolder

logger = logging.getLogger(__name__)

EVENTS_FILE = "events.jsonl"
DRIVER, LEARNER = "driver", "learner"

Kind = Literal["began", "resumed", "ended", "lost", "replaced", "regrouped", "issued_again", "poison", "no_checkpoint"]


class Event(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    at_s: float
    """Seconds since the epoch."""
    kind: Kind
    role: str
    """What it happened to: "driver", "learner", a pool's name; of a shard the stage that it was in."""
    reason: str = ""
    """Of a loss: "died", "hung", "node" (its node went away) or "drained" (its node is about to go). Of a driver's "ended" the run's
    status; of its "resumed" how the life before ended: "stopped", "failed", "done", or "died" where it could not say."""
    detail: str = ""
    seconds: float | None = Field(None, ge=0.0)
    """Of "replaced" and "regrouped": from the loss until the place was filled again. Of "resumed": for how long there was no driver."""
    numbers: dict[str, int] = Field(default_factory=dict)
    """Of "regrouped": `world_size`, `rounds` and `pairs` trained again. Of "resumed": `checkpoint` and the `rounds` done again."""


class RecordEvent(Protocol):
    """Takes note of an event that happens now."""

    def __call__(
        self,
        kind: Kind,
        role: str,
        reason: str = "",
        detail: str = "",
        *,
        seconds: float | None = None,
        numbers: dict[str, int] | None = None,
    ) -> None:
        """Returns at once. For the arguments see `Event`."""


def no_event(*event: Any, **more: Any) -> None:
    """A `RecordEvent` for work that keeps no record of events."""


class EventLog:
    """All events of a run so far, those of earlier lives among them; new ones are written by a thread of their own."""

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.time) -> None:
        """Reads what earlier lives wrote, and writes nothing yet. Raises UserError where that is damaged."""
        self._folder, self._clock = folder, clock
        self.events = read_events(folder)
        self._is_appendable = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="events")

    def record_event(
        self,
        kind: Kind,
        role: str,
        reason: str = "",
        detail: str = "",
        *,
        seconds: float | None = None,
        numbers: dict[str, int] | None = None,
    ) -> None:
        """See `RecordEvent`."""
        event = Event(at_s=self._clock(), kind=kind, role=role, reason=reason, detail=detail, seconds=seconds, numbers=numbers or {})
        self.events.append(event)
        self._thread.submit(self._write, len(self.events))

    def close(self) -> None:
        """Wait until all is written."""
        self._thread.shutdown(wait=True)

    def _write(self, count: int) -> None:
        """The `count`-th event to the file. A disk that is full costs the run its record, until there is room for all of it."""
        try:
            if self._is_appendable:
                self._folder.check_lock()
                with Path(self._folder.path(EVENTS_FILE)).open("ab") as file:
                    file.write(_line(self.events[count - 1]))
            else:
                self._folder.write_bytes(EVENTS_FILE, b"".join(_line(event) for event in self.events[:count]))
        except OSError as error:
            # What was appended may be half a line: the next event writes the file anew.
            self._is_appendable = False
            logger.warning("no %s: %s", EVENTS_FILE, error)
        else:
            self._is_appendable = self._folder.is_local


def read_events(folder: RunFolder) -> list[Event]:
    """Every event, oldest first; empty where none was written. A last line without its end is still being written, and left out.

    Raises:
        UserError: the file is damaged.
    """
    if not folder.exists(EVENTS_FILE):
        return []
    *lines, _ = folder.read_text(EVENTS_FILE).split("\n")
    try:
        return [Event.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise folder.damaged(EVENTS_FILE, error) from error


def _line(event: Event) -> bytes:
    return event.model_dump_json(exclude_defaults=True).encode() + b"\n"
