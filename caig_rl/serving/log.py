"""Structured logs of the service, in the form that a run's have: `logs/ROLE-HOST-PID.jsonl` in the service's folder.

Lines name requests, impressions, creatives and versions by their ids. They hold no key, no signature, no visitor and no text of a product.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from caig_rl.logs import json_lines, listen

FOLDER = "logs"
MAX_FILE_BYTES = 64 * 2**20
KEPT_FILES = 3
"""A process's file that reaches `MAX_FILE_BYTES` is renamed to `....jsonl.1`, and as many such are kept: a service runs for months."""


def begin_service_log(root: Path, role: str, level: str, **origin: str) -> logging.Handler:
    """Send this process's lines to the log of the service at `root`; `end_service_log` ends it.

    Args:
        root: `serve.root`; its name is the `run` of each line.
        role: what the process is: "ingress", "policy", "renderer", "scorer", "service", "operator".
        level: least level of our own lines.
        origin: more that each line says of where it comes from (replica="...").
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{role}-{socket.gethostname()}-{os.getpid()}.jsonl"
    handler = RotatingFileHandler(file, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    listen([json_lines(handler, root.resolve().name, role, **origin)], level)
    return handler


def end_service_log(handler: logging.Handler) -> None:
    """No more lines."""
    logging.getLogger().removeHandler(handler)
    handler.close()


@contextmanager
def service_log(root: Path, role: str, level: str) -> Iterator[None]:
    """The log of a process that also does other things, inside the block."""
    handler = begin_service_log(root, role, level)
    try:
        yield
    finally:
        end_service_log(handler)
