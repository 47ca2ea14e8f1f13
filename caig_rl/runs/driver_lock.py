"""One driver a run folder. `driver.json` in it says who: on local disks a locked file, on object stores a lease that is renewed.

    local disk      the driver holds an flock for its life; the kernel takes it back with the process, also after `kill -9`
    object store    the driver writes the file anew every RENEW_S; it counts as gone after DEAD_S without that

Where a file system knows no locks, the lease stands in for it there too. A driver that finds its lease in other hands stops, and its folder
refuses every further write.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import IO
from uuid import uuid4

from caig_rl.errors import UserError
from caig_rl.runs.folder import DRIVER_FILE, RunFolder

logger = logging.getLogger(__name__)

RENEW_S = 20.0
DEAD_S = 180.0
SETTLE_S = 2.0
"""After it wrote its lease a driver waits this long and reads it back: of two that wrote at once, the later one has it."""
_LOCK_TRIES, _LOCK_PAUSE_S = 10, 0.1
"""Who looks whether a driver is alive holds the lock for an instant; a driver that starts then tries again."""


class RunTaken(UserError):
    """Another driver writes this folder."""


class LeaseLost(UserError):
    """This driver is no longer the folder's; it must not write to it any more."""


@dataclass(frozen=True, slots=True)
class Driver:
    """Who writes a run folder, or wrote it last."""

    host: str
    pid: int
    since: float
    """Seconds since the epoch."""
    renewed: float
    token: str = ""
    is_lease: bool = False

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC"


def last_driver(folder: RunFolder) -> Driver | None:
    """Who wrote the folder last, alive or not; None where nobody said so."""
    return _parse(folder.read_if_there(DRIVER_FILE))


def driver_is_alive(folder: RunFolder, driver: Driver, now: float | None = None) -> bool:
    """Whether `driver`, the folder's last, still writes it. `now`: seconds since the epoch, for leases."""
    if driver.is_lease:
        return (time.time() if now is None else now) - driver.renewed < DEAD_S
    try:
        with open(folder.path(DRIVER_FILE), "rb") as file:
            return not _try_flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def refuse_where_driven(folder: RunFolder) -> None:
    """Leaves no trace. Raises RunTaken where another driver holds the lock; whether a lease is a dead driver's, only `held` can tell."""
    driver = last_driver(folder)
    if folder.lock is None and driver is not None and not driver.is_lease and driver_is_alive(folder, driver):
        raise _taken(folder, driver)


@contextmanager
def held(folder: RunFolder, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep) -> Iterator[RunLock]:
    """Be the folder's only driver for the block; who is it already goes on being it. The folder must be there.

    `clock` gives seconds since the epoch. Where a lease looks alive, its next renewal is waited for, at most `DEAD_S`: a job controller
    that starts a killed driver anew at once must not be refused by the dead one's lease.

    Raises:
        RunTaken: another driver is alive.
    """
    if folder.lock is not None:
        assert isinstance(folder.lock, RunLock)
        yield folder.lock
        return
    lock = RunLock(folder, clock, sleep)
    lock.acquire()
    folder.lock = lock
    try:
        yield lock
    finally:
        folder.lock = None
        lock.release()


class RunLock:
    """This process's hold on one run folder."""

    def __init__(self, folder: RunFolder, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._shown = folder
        # Its own files are written past the check that it makes for all others.
        self._folder, self._clock, self._sleep = folder.unlocked(), clock, sleep
        now = clock()
        self._me = Driver(socket.gethostname(), os.getpid(), now, now, uuid4().hex)
        self._file: IO[bytes] | None = None
        self._lost: str = ""
        self._turn, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Raises RunTaken where another driver is alive."""
        if not (self._folder.is_local and self._flocked()):
            self._take_lease()

    def check(self) -> None:
        """Raises LeaseLost where this driver must not write any more. Costs nothing but, after a long standstill, one renewal."""
        if self._me.is_lease and not self._lost and self._clock() - self._me.renewed > DEAD_S:
            self.renew()
        if self._lost:
            raise LeaseLost(self._lost)

    def renew(self) -> None:
        """Write the lease anew, where it is still ours."""
        with self._turn:
            found = last_driver(self._folder)
            if found is None or found.token != self._me.token:
                whose = "was removed" if found is None else f"is another driver's ({found})"
                self._lost = f"{self._shown.url}: the lease of this driver {whose}; it stops and writes nothing more"
                return
            self._write_lease(replace(self._me, renewed=self._clock()))

    async def until_lost(self) -> None:
        """Returns never; raises LeaseLost soon after a renewal found the lease in other hands. A store that is away is no loss."""
        while not self._lost:
            await asyncio.sleep(1.0)
        raise LeaseLost(self._lost)

    def release(self) -> None:
        """Let the next driver in. `driver.json` stays on local disks: to unlink a locked file would let two in."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            found = last_driver(self._folder)
            if found is not None and found.token == self._me.token:
                self._folder.remove(DRIVER_FILE)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flocked(self) -> bool:
        """False where the file system knows no locks."""
        file = open(self._folder.path(DRIVER_FILE), "a+b")  # noqa: SIM115 (held for the driver's life)
        try:
            for left in reversed(range(_LOCK_TRIES)):
                if _try_flock(file, fcntl.LOCK_EX):
                    break
                if not left:
                    raise _taken(self._shown, last_driver(self._folder))
                time.sleep(_LOCK_PAUSE_S)
        except OSError as error:
            file.close()
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return False
            raise
        except RunTaken:
            file.close()
            raise
        file.truncate(0)
        file.write(json.dumps(asdict(self._me)).encode())
        file.flush()
        self._file = file
        return True

    def _take_lease(self) -> None:
        self._wait_for_the_last()
        self._me = replace(self._me, is_lease=True)
        self._write_lease(replace(self._me, renewed=self._clock()))
        self._sleep(SETTLE_S)
        found = last_driver(self._folder)
        if found is None or found.token != self._me.token:
            raise _taken(self._shown, found)
        self._thread = threading.Thread(target=self._keep, name="run-lease", daemon=True)
        self._thread.start()

    def _wait_for_the_last(self) -> None:
        first = last_driver(self._folder)
        if first is None or not driver_is_alive(self._folder, first, self._clock()):
            return
        logger.warning("%s has a driver (%s): waiting to see whether it is alive, %.0f s at most", self._shown.url, first, DEAD_S)
        # By this clock alone: the last driver's may have been ahead, and its lease seem alive for as long.
        until = self._clock() + DEAD_S
        while (found := last_driver(self._folder)) is not None and driver_is_alive(self._folder, found, self._clock()):
            if (found.token, found.renewed) != (first.token, first.renewed):
                raise _taken(self._shown, found)
            if self._clock() >= until:
                return
            self._sleep(1.0)

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_S) and not self._lost:
            try:
                self.renew()
            # Whatever the store's client raises while it is away for a minute; `check` asks again before anything is written after DEAD_S.
            except Exception as error:
                logger.warning("the lease of %s could not be renewed: %s", self._shown.url, error)

    def _write_lease(self, lease: Driver) -> None:
        self._folder.write_bytes(DRIVER_FILE, json.dumps(asdict(lease)).encode())
        self._me = lease


def _try_flock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(data: bytes | None) -> Driver | None:
    if not data:
        return None
    try:
        return Driver(**json.loads(data))
    except (ValueError, TypeError):
        # Read while it was being written, or edited: the lock itself decides, not what the file says.
        return Driver("unknown", 0, 0.0, 0.0)


def _taken(folder: RunFolder, driver: Driver | None) -> RunTaken:
    who = "another driver" if driver is None else f"another driver ({driver})"
    return RunTaken(f"{folder.url} is being written by {who}. Wait for its end or stop it (SIGTERM), or name another folder.")
