"""Messages of Ray's that look like faults and are none, kept from among the lines of a run. All others come through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray._private import worker

HARMLESS = (
    # Workers take a tenth of a CPU or so each, on purpose: more of them than cores.
    "maximum expected startup concurrency",
    # Of a service that is ended by its own process.
    "Task ServeController.graceful_shutdown failed",
)
Print = Callable[..., None]


def keep_harmless_silent() -> None:
    """Ray prints its nodes' messages on the driver's standard output and has no option for it. May be called again."""
    if not isinstance(worker.print_to_stdstream, _Chosen):
        worker.print_to_stdstream = _Chosen(worker.print_to_stdstream)


class _Chosen:
    """Ray's own printing of `data["lines"]`, less those of `HARMLESS`."""

    def __init__(self, plain: Print) -> None:
        self._plain = plain

    def __call__(self, data: dict[str, Any], *arguments: Any, **options: Any) -> None:
        lines = [line for line in data["lines"] if not any(words in line for words in HARMLESS)]
        if lines:
            self._plain({**data, "lines": lines}, *arguments, **options)
