"""SIGTERM at any moment ends the process with 75, in time. Imports no more than it must: it is at work before the rest is imported.

    before the loop runs    the start is broken off where it stands (SystemExit), so that what was begun is put away
    while the loop runs     `ask` is told, which stops the loop with a checkpoint
    after the loop          what ends, ends; a report is about to be written
    always                  `grace_s` after the signal the process ends, whatever it hangs in

A thread reads the signals from Python's wake-up file: it hears them also while the main thread is in a call that never returns, or where
Ray has put its own handler, which exits with 1 or 15, in the place of ours.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""EX_TEMPFAIL: run the same again."""
DEFAULT_GRACE_S = 25.0
"""Until the configuration is read."""
BEFORE = "SIGTERM before the run was up: nothing was begun that could be lost; start it again (exit code 75)"


class EarlyStop:
    """The signals of this process, from `begin` on. There is one in a process (`STOPS`)."""

    def __init__(self) -> None:
        """No handler is touched yet."""
        self.grace_s = DEFAULT_GRACE_S
        self._begun = self._asked = self._breaks_off = False
        self._ask: Callable[[int], None] | None = None
        self._lock = threading.Lock()
        self._reading = self._writing = -1

    def begin(self) -> None:
        """Listen, from now until the process ends; again where that is done does no harm. In the main thread only."""
        if not self._begun:
            self._begun = True
            self._reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            threading.Thread(target=self._listen, name="early stop", daemon=True).start()
            # A child that is forked would speak into our pipe.
            os.register_at_fork(after_in_child=self._forget)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._break_off)

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """A start, which SIGTERM breaks off: whatever then ends the block, the exit code is 75."""
        self._breaks_off = True
        try:
            yield
        except BaseException:
            if self._asked and self._ask is None:
                raise SystemExit(STOPPED) from None
            raise
        finally:
            self._breaks_off = False

    @contextmanager
    def handed_to(self, ask: Callable[[int], None]) -> Iterator[None]:
        """While the block runs `ask` is told of SIGTERM and SIGINT, in this object's own thread. Raises SystemExit where SIGTERM came before."""
        before = signal.signal(signal.SIGINT, lambda number, frame: None)
        # Ray may have put its own handler, and another library its own wake-up file, in the place of ours.
        self.begin()
        with self._lock:
            self._ask = ask
            asked, self._breaks_off = self._asked, False
        try:
            if asked:
                raise SystemExit(STOPPED)
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _break_off(self, number: int, frame: FrameType | None) -> None:
        if self._breaks_off and self._ask is None:
            self._breaks_off = False
            raise SystemExit(STOPPED)

    def _listen(self) -> None:
        while True:
            for number in os.read(self._reading, 64):
                self._heard(number)

    def _heard(self, number: int) -> None:
        with self._lock:
            is_first, ask = number == signal.SIGTERM and not self._asked, self._ask
            self._asked |= is_first
        if is_first:
            if ask is None:
                _say(BEFORE)
            clock = threading.Timer(self.grace_s, self._end)
            clock.daemon = True
            clock.start()
        if ask is not None and number in (signal.SIGTERM, signal.SIGINT):
            ask(number)

    def _end(self) -> None:
        _say(f"stopping took longer than run.stop_grace_s={self.grace_s:g}: ended without; the newest checkpoint stays (exit code 75)")
        os._exit(STOPPED)

    def _forget(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say(text: str) -> None:
    """To standard error, past buffers and locks that a hanging thread may hold."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, f"{text}\n".encode())


STOPS = EarlyStop()
