"""What a run tells of itself beyond the run folder: its log, and the experiment trackers that the config names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from actors.telemetry.progress import Progress
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.logs import SPOKEN
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.process_log import RunLog
from caig_rl.runs.summary import RoundDetail, RunSummary
from caig_rl.runs.trackers.numbers import final_numbers
from caig_rl.runs.trackers.trackers import open_trackers

logger, spoken = logging.getLogger(__name__), logging.getLogger(SPOKEN)


class Listener(Protocol):
    """Takes the rounds of a run and its end; may block, and may raise."""

    def log_round(self, row: Mapping[str, object]) -> None:
        """A row of `metrics.jsonl`."""

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """The run is "done", "stopped" or "failed"."""


class BackgroundReporter:
    """Reports to listeners from a thread of its own, so that a slow one never holds up the loop. What one did not take is sent again with
    the next round: a tracker that is down for an hour misses nothing."""

    def __init__(self, listeners: Mapping[str, Listener], note: Callable[[str], None]) -> None:
        """`listeners`: by name; `note` is told, once for each, that one does not answer."""
        self._listeners, self._note = dict(listeners), note
        self._unsent: dict[str, list[Mapping[str, object]]] = {name: [] for name in listeners}
        self._silent: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reporter")

    def log_round(self, row: Mapping[str, object]) -> None:
        """Returns at once."""
        self._thread.submit(self._send_all, row)

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """Send what is unsent and the end, and wait for it."""
        self._thread.submit(self._end_all, status, numbers)
        self._thread.shutdown(wait=True)

    def _send_all(self, row: Mapping[str, object]) -> None:
        for name in self._listeners:
            self._unsent[name].append(row)
            self._try(name, partial(self._send, name))

    def _end_all(self, status: str, numbers: Mapping[str, float]) -> None:
        for name in self._listeners:
            self._try(name, partial(self._end, name, status, numbers))

    def _end(self, name: str, status: str, numbers: Mapping[str, float]) -> None:
        self._send(name)
        self._listeners[name].finish(status, numbers)

    def _send(self, name: str) -> None:
        while self._unsent[name]:
            self._listeners[name].log_round(self._unsent[name][0])
            self._unsent[name].pop(0)

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever its client raises: the run folder has every number, and the run goes on
            logger.warning("%s does not answer: %s", name, error)
            if name not in self._silent:
                self._note(f"{name} does not answer; the run goes on, and what it misses is sent again later")
            self._silent.add(name)
        else:
            self._silent.discard(name)


class ReportingProgress:
    """A `Progress` that hands on what it is told, and writes it to the run's log and to its trackers."""

    def __init__(self, config: Config, folder: RunFolder, shown: Progress) -> None:
        """Begin the log and the trackers. `folder` is prepared; `shown` is the person's view.

        Raises:
            UserError: a tracker's package is missing, or it does not take the run.
        """
        self._shown, self._log = shown, RunLog(folder, "controller", config.logs)
        try:
            trackers = {one.name: one for one in open_trackers(config, folder)}
        except BaseException:
            self._log.close()
            raise
        self._reporter = BackgroundReporter({"log": self._log, **trackers}, shown.note)
        self._status, self._numbers = "failed", dict[str, float]()

    def phase(self, name: str, total: int) -> None:
        """See `Progress`."""
        logger.info("%s", name, extra={"phase": name, "total": total})
        self._shown.phase(name, total)

    def advanced(self, stage: str, count: int) -> None:
        """See `Progress`."""
        self._shown.advanced(stage, count)

    def round_ended(self, detail: RoundDetail) -> None:
        """See `Progress`."""
        row = detail.model_dump(mode="json")
        logger.info("round %d ended", detail.round + 1, extra={"round": detail.round, "numbers": row})
        self._reporter.log_round(row)
        self._shown.round_ended(detail)

    def note(self, text: str) -> None:
        """See `Progress`."""
        spoken.info("%s", text)
        self._shown.note(text)

    def ended(self, summary: RunSummary) -> None:
        """The run came to an end that it knows of."""
        self._status, self._numbers = summary.status, final_numbers(summary)
        logger.info("the run is %s", summary.status, extra={"numbers": self._numbers})

    def close(self, failure: BaseException | None = None) -> None:
        """End log and trackers; a run that never said `ended` has failed, by `failure`."""
        if failure is not None:
            # A message for the user says all there is; where it came from would only stand before it.
            logger.error("the run failed: %s", failure, exc_info=None if isinstance(failure, UserError) else failure)
        self._reporter.finish(self._status, self._numbers)
        self._log.close()


@contextmanager
def run_reporting(config: Config, folder: RunFolder, shown: Progress) -> Iterator[ReportingProgress]:
    """Progress that also reports, for the block; closed with the block's failure."""
    reporting = ReportingProgress(config, folder, shown)
    try:
        yield reporting
    except BaseException as failure:
        reporting.close(failure)
        raise
    reporting.close()
