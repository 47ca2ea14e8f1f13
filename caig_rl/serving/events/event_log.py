"""The log of events: one file a process, appended, synced before anything is acknowledged, whole up to a torn last line.

    ROOT/events/20261124-101502-<host>-<pid>-<random>.log        crc32 <space> one event as JSON

A line is good when its CRC is. A process that is killed may leave half a line at its file's end; a new process starts a new file, so torn
lines are only ever last lines. One event may be in the log twice (a client that got no answer asks again): the reader counts it once.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from caig_rl.serving.events.reported_events import Event
from caig_rl.serving.files import sync_folder

logger = logging.getLogger(__name__)

FOLDER = "events"
MAX_FILE_BYTES = 256 * 2**20
"""A larger file is closed and a new one begun."""


class EventLog:
    """This process's end of the log. One thread at a time."""

    def __init__(self, root: Path, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._folder = root / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._max_file_bytes = max_file_bytes
        self._descriptor: int | None = None

    def append(self, events: Sequence[Event]) -> None:
        """Write all events and sync them. When it returns they survive a kill of the process and of the machine.

        Raises:
            OSError: they could not be made durable (a full disk). Some may be in the log; nothing may be acknowledged.
        """
        if not events:
            return
        try:
            descriptor = self._descriptor if self._descriptor is not None else self._begin()
            data = memoryview(b"".join(encode_line(event) for event in events))
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        except OSError:
            # What follows half a line in the same file could not be read: later events go to a new file.
            self.close()
            raise
        if os.fstat(descriptor).st_size >= self._max_file_bytes:
            self.close()

    def close(self) -> None:
        """Close the file; the next append begins another."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begin(self) -> int:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        name = f"{stamp}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.log"
        self._descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        sync_folder(self._folder)
        return self._descriptor


class EventReader:
    """Reads the log of all processes, and on each call only what came since."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._offsets: dict[str, int] = {}
        self._seen: set[str] = set()
        self.damaged = 0
        """Whole lines that cannot be read: a disk fault or another release's, not a kill. They are skipped and counted."""

    def new_events(self) -> Iterator[Event]:
        """Every event not yet handed out, each once, files in order of name."""
        names = sorted(entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".log")) if self._folder.is_dir() else []
        for name in names:
            for event in self._read(name):
                if event.key not in self._seen:
                    self._seen.add(event.key)
                    yield event

    def _read(self, name: str) -> Iterator[Event]:
        path, start = self._folder / name, self._offsets.get(name, 0)
        try:
            if path.stat().st_size <= start:
                return
            file = path.open("rb")
        except FileNotFoundError:  # the operator archived it since the folder was listed
            return
        with file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # torn, or still being written: looked at again next time
                self._offsets[name] = self._offsets.get(name, 0) + len(line)
                event = decode_line(line)
                if event is None:
                    self.damaged += 1
                    logger.error("%s: a line of %d bytes before byte %d is damaged", path, len(line), self._offsets[name])
                else:
                    yield event


def encode_line(event: Event) -> bytes:
    """One line of the log, with its line break."""
    body = event.to_json().encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_line(line: bytes) -> Event | None:
    """The event of one line; None where its CRC is wrong, or where another release wrote other fields."""
    crc, _, body = line.rstrip(b"\n").partition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        return Event.from_json(body.decode())
    except (KeyError, TypeError, ValueError):  # whole, and not ours: one such line must not cost the rest of the log
        return None
