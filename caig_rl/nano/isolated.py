"""Runs a stage of the build in a process of its own: vLLM and DeepSpeed each set up a process group that lasts as long as the process."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caig_rl.nano.autoencoder import Progress

_LOOK_S = 0.5


def in_own_process(function: Callable[..., Any], *arguments: Any, progress: Progress) -> Any:
    """`function(*arguments, progress)` there; its result, or what it raised. Function, arguments and result must be picklable."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        steps = manager.Queue()
        future = pool.submit(function, *arguments, partial(_tell, steps))
        while not (future.done() and steps.empty()):
            try:
                progress(*steps.get(timeout=_LOOK_S))
            except queue.Empty:
                continue
        return future.result()


def _tell(steps: Any, stage: str, step: int, total: int, loss: float) -> None:
    steps.put((stage, step, total, loss))
