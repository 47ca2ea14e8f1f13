"""Runs a stage of a build in a process of its own: vLLM and DeepSpeed each set up a process group that lasts as long as the process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Literal

from caig_rl.errors import UserError

if TYPE_CHECKING:
    from caig_rl.nano.autoencoder import Progress

_LOOK_S = 0.5
Kind = Literal["told", "returned", "raised"]


class Stopped(Exception):
    """The stage was broken off because it was asked to stop."""


def in_own_process(
    function: Callable[..., Any], *arguments: Any, progress: Progress, is_stopped: Callable[[], bool] = lambda: False
) -> Any:
    """`function(*arguments, progress)` there; its result, or what it raised. Function, arguments and result must be picklable.

    The process ends with this call, whatever ends it, and with this process. `is_stopped` is asked every half second.

    Raises:
        Stopped: `is_stopped` said so.
        UserError: the process died (by a signal, for want of memory).
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        while True:
            if is_stopped():
                raise Stopped
            if not ours.poll(_LOOK_S):
                continue
            try:
                kind, content = ours.recv()
            except EOFError:
                process.join()
                raise UserError(f"{function.__name__}: its process died with exit code {process.exitcode}") from None
            if kind == "told":
                progress(*content)
            elif kind == "returned":
                return content
            else:
                raise content
    finally:
        process.kill()
        process.join()


def _work(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # A Ctrl-C reaches every process of a terminal; the one that waits decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    try:
        result = function(*arguments, partial(_tell, pipe))
    except Exception as error:
        # A traceback does not travel; as a note it does.
        error.add_note(f"in its own process:\n{traceback.format_exc()}")
        _send(pipe, "raised", error)
        return
    _send(pipe, "returned", result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _tell(pipe: Connection, stage: str, step: int, total: int, loss: float) -> None:
    _send(pipe, "told", (stage, step, total, loss))


def _send(pipe: Connection, kind: Kind, content: Any) -> None:
    pipe.send((kind, content))
