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
HEARD_WITHIN_S = 0.2
"""Within which our thread hears of a signal whose handler ran in the main thread."""
BEFORE = "SIGTERM before the run was up: nothing was begun that could be lost; start it again (exit code 75)"


class SigtermStop:
    """The signals of this process, from `begin` on. There is one in a process (`SIGTERM_STOP`)."""

    def __init__(self) -> None:
        """No handler is touched yet."""
        self.grace_s = DEFAULT_GRACE_S
        self._lock = threading.Lock()
        self._begun = self._is_broken_off = self._is_said = self._is_counting = False
        self._asked = threading.Event()
        self._ask: Callable[[int], object] | None = None
        self._reading = self._writing = -1

    def begin(self) -> None:
        """Listen, from now until the process ends; again where that is done does no harm. In the main thread only."""
        if not self._begun:
            self._begun = True
            self._reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            threading.Thread(target=self._listen, name="sigterm stop", daemon=True).start()
            os.register_at_fork(after_in_child=_forget)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._break_off)

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """A start, and what follows: where SIGTERM came before the loop ran, the exit code is 75, whatever ends the block."""
        try:
            yield
        except BaseException:
            # Another handler, Ray's own, may have ended the block before our thread came to hear of it.
            if self._ask is None and self._asked.wait(HEARD_WITHIN_S):
                raise SystemExit(STOPPED) from None
            raise

    @contextmanager
    def handed_to(self, ask: Callable[[int], object]) -> Iterator[None]:
        """While the block runs `ask` is told of SIGTERM and SIGINT, in a thread of its own.

        Raises:
            SystemExit: SIGTERM came before.
        """
        interrupted = signal.signal(signal.SIGINT, lambda number, frame: None)
        # Ray has put its own handler in the place of ours, where it started a node.
        self.begin()
        with self._lock:
            if self._asked.is_set():
                raise SystemExit(STOPPED)
            self._ask = ask
        try:
            yield
        finally:
            with self._lock:
                self._ask = _let_it_end
            signal.signal(signal.SIGINT, interrupted)

    def _break_off(self, number: int, frame: FrameType | None) -> None:
        if self._ask is None and not self._is_broken_off:
            self._is_broken_off = True
            self._asked.set()
            self._say_once()
            raise SystemExit(STOPPED)

    def _listen(self) -> None:
        while True:
            for number in os.read(self._reading, 64):
                self._heard(number)

    def _heard(self, number: int) -> None:
        if number not in (signal.SIGTERM, signal.SIGINT):
            return
        with self._lock:
            ask = self._ask
            if number == signal.SIGTERM:
                self._asked.set()
                self._count_down()
        if ask is not None:
            ask(number)
        elif number == signal.SIGTERM:
            self._say_once()

    def _say_once(self) -> None:
        """Whichever comes first, handler or thread: where the start ends fast, the thread would not come to it."""
        if not self._is_said:
            self._is_said = True
            _say(BEFORE)

    def _count_down(self) -> None:
        """From the first SIGTERM on; the others change nothing."""
        if not self._is_counting:
            self._is_counting = True
            clock = threading.Timer(self.grace_s, self._end)
            clock.daemon = True
            clock.start()

    def _end(self) -> None:
        _say(f"stopping took longer than run.stop_grace_s={self.grace_s:g}: ended without; the newest checkpoint stays (exit code 75)")
        os._exit(STOPPED)


def _let_it_end(number: int) -> None:
    _say("the run has ended already; what it writes last is finished first")


def _forget() -> None:
    """A child that is forked must not speak into its parent's pipe."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _say(text: str) -> None:
    """To standard error, past buffers and locks that a hanging thread may hold."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2, f"{text}\n".encode())


SIGTERM_STOP = SigtermStop()
