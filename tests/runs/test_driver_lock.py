"""One driver a folder: by flock where it is local, by a lease on object stores."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from caig_rl.runs import driver_lock as run_lock
from caig_rl.runs.driver_lock import DEAD_S, SETTLE_S, LeaseLost, RunTaken, driver_is_alive, held, last_driver, refuse_where_driven
from caig_rl.runs.folder import DRIVER_FILE, RunFolder

HOLD = """
import sys, time
from caig_rl.runs.folder import RunFolder
from caig_rl.runs.driver_lock import held
with held(RunFolder(sys.argv[1], "run")):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def local(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path), "run")
    folder.prepare()
    return folder


@pytest.fixture
def remote() -> Iterator[RunFolder]:
    folder = RunFolder("memory://lock-test", "run")
    folder.prepare()
    yield folder
    fsspec.filesystem("memory").rm("/lock-test", recursive=True)


class Clock:
    """Seconds that pass only where somebody sleeps; `then` happens at each second."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.now, self._then = 1000.0, then

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._then()


def lease_of_another(folder: RunFolder, renewed: float) -> None:
    content = {"host": "far", "pid": 7, "since": 0.0, "renewed": renewed, "token": "theirs", "is_lease": True}
    folder.unlocked().write_bytes(DRIVER_FILE, json.dumps(content).encode())


def test_a_second_driver_is_refused_by_the_first_ones_name_until_it_is_killed(local: RunFolder, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        named = rf"is being written by another driver \(host {socket.gethostname()}, pid {first.pid}, since 20.* UTC\)\. Wait for its end"
        with pytest.raises(RunTaken, match=named), held(local):
            pass
        with pytest.raises(RunTaken, match=named):
            refuse_where_driven(local)
        driver = last_driver(local)
        assert driver is not None and driver_is_alive(local, driver)
        first.send_signal(signal.SIGKILL)
    assert not driver_is_alive(local, driver)
    refuse_where_driven(local)
    with held(local):
        assert driver_is_alive(local, driver)
    assert not driver_is_alive(local, driver)


def test_who_holds_it_already_holds_it_once_more(local: RunFolder) -> None:
    with held(local) as first:
        refuse_where_driven(local)
        with held(local) as again:
            assert again is first
        first.check()
        with pytest.raises(RunTaken), held(local.unlocked()):
            pass


def test_a_drivers_name_alone_is_no_run(local: RunFolder) -> None:
    with held(local):
        pass
    assert local.exists(DRIVER_FILE) and not local.has_begun


def test_a_lease_that_is_renewed_while_watched_refuses_and_one_that_is_not_is_taken_over(remote: RunFolder) -> None:
    lease_of_another(remote, 990.0)
    alive = Clock(lambda: lease_of_another(remote, 1001.0))
    with pytest.raises(RunTaken, match="host far, pid 7"), held(remote, alive.time, alive.sleep):
        pass
    lease_of_another(remote, 990.0)
    silent = Clock()
    with held(remote, silent.time, silent.sleep):
        assert silent.now >= 990.0 + DEAD_S
        remote.write_text("note", "mine")
    assert not remote.exists(DRIVER_FILE), "the next driver need not wait"


def test_only_who_waits_can_tell_whether_a_lease_is_a_dead_drivers(remote: RunFolder) -> None:
    lease_of_another(remote, time.time())
    refuse_where_driven(remote)


def test_a_dead_drivers_clock_that_was_ahead_keeps_nobody_waiting_for_longer(remote: RunFolder) -> None:
    lease_of_another(remote, 1000.0 + 24 * 3600)
    clock = Clock()
    with held(remote, clock.time, clock.sleep):
        assert clock.now <= 1000.0 + DEAD_S + SETTLE_S + 1


def test_of_two_that_write_at_once_the_later_has_it(remote: RunFolder) -> None:
    clock = Clock(lambda: lease_of_another(remote, 1000.0))
    with pytest.raises(RunTaken, match="host far"), held(remote, clock.time, clock.sleep):
        pass


def test_a_driver_that_lost_its_lease_cannot_write_and_leaves_the_others_alone(remote: RunFolder) -> None:
    clock = Clock()
    with held(remote, clock.time, clock.sleep) as lock:
        lease_of_another(remote, clock.now)
        lock.renew()
        with pytest.raises(LeaseLost, match="host far, pid 7"):
            remote.write_text("summary.json", "{}")
    driver = last_driver(remote)
    assert driver is not None and driver.token == "theirs" and not remote.exists("summary.json")


def test_after_a_long_standstill_the_lease_is_looked_at_before_the_next_write(remote: RunFolder) -> None:
    clock = Clock()
    with held(remote, clock.time, clock.sleep):
        clock.now += DEAD_S + 1
        remote.write_text("note", "nobody took it meanwhile")
        clock.now += DEAD_S + 1
        lease_of_another(remote, clock.now)
        with pytest.raises(LeaseLost):
            remote.write_text("note", "theirs")
    assert remote.read_text("note") == "nobody took it meanwhile"


def test_a_store_that_is_away_is_no_loss_and_is_asked_again(remote: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "RENEW_S", 0.01)
    clock, is_back, asked_again = Clock(), threading.Event(), threading.Semaphore(0)
    with held(remote, clock.time, clock.sleep) as lock:
        read = lock._folder.read_if_there

        def read_where_it_is_back(name: str) -> bytes | None:
            asked_again.release()
            if not is_back.is_set():
                raise RuntimeError("the store is away, says its client")
            return read(name)

        monkeypatch.setattr(lock._folder, "read_if_there", read_where_it_is_back)
        clock.now += DEAD_S + 1
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(lock.until_lost(), 0.05))
        assert all(asked_again.acquire(timeout=30) for _ in range(3))
        with lock._turn:
            lease_of_another(remote, clock.now)
            is_back.set()
        with pytest.raises(LeaseLost, match="host far, pid 7"):
            asyncio.run(asyncio.wait_for(lock.until_lost(), 30))


def test_where_a_disk_knows_no_locks_a_lease_stands_in(local: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    clock = Clock()
    with held(local, clock.time, clock.sleep):
        driver = last_driver(local)
        assert driver is not None and driver.is_lease
