"""Ctrl-C or SIGTERM ends a training job at once and with a word: what it lost is the epoch it was in."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.train.torch import TorchTrainer

STOPPED = 75
"""Exit code of a job that was stopped and can be gone on with: EX_TEMPFAIL, as that of a run."""
ABORT_S = 15.0
"""Longest wait for Ray Train to let its workers go."""


class StoppableTrainer(TorchTrainer):
    """Ray Train's own handler covers SIGINT alone, and ends with exit code 1 and no word of going on."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Called by `fit` in the main thread, once its controller is there. From then on `fit` may raise SystemExit(`STOPPED`)."""

        def stop(number: int, frame: FrameType | None) -> None:
            # A second one does what it does by default.
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, signal.SIG_DFL)
            # Aborted, it ends itself; one that does not is left to the end of this process.
            with suppress(RayActorError, GetTimeoutError):
                ray.get(controller.abort.remote(), timeout=ABORT_S)
            raise SystemExit(STOPPED)

        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, stop)
