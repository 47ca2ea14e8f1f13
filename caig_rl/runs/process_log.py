"""The log file of one process of a run: `logs/ROLE-HOST-PID.jsonl` in the run folder."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from caig_rl.config.tracking import LogsConfig
from caig_rl.logs import json_lines, listen
from caig_rl.runs.folder import RunFolder


class RunLog:
    """Writes until closed. On object stores, which cannot append, the file is a local one that `upload` copies there."""

    def __init__(self, folder: RunFolder, role: str, config: LogsConfig, *, stream: IO[str] | None = None) -> None:
        """Begin.

        Args:
            folder: of the run, prepared.
            role: what this process is.
            config: level, and whether lines go to standard output too.
            stream: where lines go in any case; None: nowhere but the file.
        """
        self._folder = folder
        self.name = f"logs/{role}-{socket.gethostname()}-{os.getpid()}.jsonl"
        self._staging = None if folder.is_local else tempfile.TemporaryDirectory(prefix="caig-rl-logs-")
        self._file = Path(folder.path(self.name)) if self._staging is None else Path(self._staging.name) / "log.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._handlers: list[logging.Handler] = [logging.FileHandler(self._file, encoding="utf-8")]
        self._handlers += [logging.StreamHandler(one) for one in (stream, sys.stdout if config.stdout else None) if one is not None]
        listen([json_lines(handler, folder.name, role) for handler in self._handlers], config.level)

    def upload(self) -> None:
        """Bring the run folder's copy up to date; nothing to do on local disks."""
        if self._staging is not None:
            self._folder.write_bytes(self.name, self._file.read_bytes())

    def log_round(self, row: Mapping[str, object]) -> None:
        """A round ended: a moment to upload."""
        self.upload()

    def finish(self, status: str, numbers: Mapping[str, float]) -> None:
        """The run ended."""
        self.upload()

    def close(self) -> None:
        """No more lines; calling it twice does no harm."""
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers = []
        if self._staging is not None:
            self.upload()
            self._staging.cleanup()
            self._staging = None
