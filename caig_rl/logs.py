"""Structured logs: a JSON object a line, with the run, the role of the process, and the admissions that the line is about."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from pythonjsonlogger.json import JsonFormatter

OWN_LOGGERS = ("caig_rl", "actors")
"""Whose lines are kept from `logs.level` up; of other libraries only warnings and worse."""
SPOKEN = "actors.spoken"
"""The logger of lines that the person's view shows by itself: a log handler on the same console leaves them out (`unspoken`)."""
_facts: ContextVar[Mapping[str, object]] = ContextVar("facts of the log lines", default=MappingProxyType({}))


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Inside, every line of this task or thread carries `facts` (round=3, admissions=[40, 41]), and those of the blocks around it.

    A task keeps the facts of the block in which it was created.
    """
    token = _facts.set({**_facts.get(), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


def unspoken(record: logging.LogRecord) -> bool:
    """A filter for a handler that writes to a person's console."""
    return record.name != SPOKEN


class _AddFacts(logging.Filter):
    """Puts the facts of `about` on a record; what the line itself says of the same kind goes first."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _facts.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def json_lines(handler: logging.Handler, run: str, role: str, **more: str) -> logging.Handler:
    """`handler`, made to write JSON lines: time (UTC), level, logger, message, run, role, host, pid, and the facts of each line.

    Args:
        handler: any of the standard library's.
        run: name of the run.
        role: what the process is: "controller", "learner", "policy", "renderer", "scorer"; of a service `caig_rl.serving.log` has more.
        more: what else each line says of its origin.
    """
    origin = {"run": run, "role": role, "host": socket.gethostname(), "pid": os.getpid(), **more}
    renamed = {"levelname": "level", "name": "logger"}
    handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields=renamed, static_fields=origin, timestamp="time"))
    handler.addFilter(_AddFacts())
    return handler


def listen(handlers: Sequence[logging.Handler], level: str) -> None:
    """Send this process's lines to `handlers`, too: our own from `level` ("debug", "info", "warning") up, others' from warning up."""
    root = logging.getLogger()
    # Handlers that were there before show what they showed before, though our loggers now let more through.
    for other in root.handlers:
        if other.level == logging.NOTSET:
            other.setLevel(root.level)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    for handler in handlers:
        root.addHandler(handler)
