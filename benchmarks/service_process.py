"""`caig-rl serve run` as an operator runs it: a process of its own, started, found again, killed and stopped. For the benchmarks here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from actors.serve.lifecycle import SERVICE_FILE

REPOSITORY = Path(__file__).parents[1]
CAIG = [sys.executable, "-m", "caig_rl.cli"]
START_LIMIT_S = 600
STOP_LIMIT_S = 120
REPLICAS = "ray::ServeReplica:caig-rl:"
"""How Ray names the processes of replicas."""


class ServiceProcess:
    """A service on `root`. All that it started, and Ray's files, end with the block."""

    def __init__(self, root: Path, overrides: Sequence[str] = (), config: str = "configs/serve-demo.yaml") -> None:
        self.root, self.port, self.log = root, free_port(), root / "service.log"
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [*CAIG, "serve", "run", config, f"serve.root={root}", f"serve.port={self.port}", *overrides]
        # Short: the paths of sockets have 107 characters at most.
        self._ray_folder = tempfile.mkdtemp(prefix="sv-", dir="/tmp")
        self._process: subprocess.Popen[bytes] | None = None
        root.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers and says that all of it is up."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "RAY_TMPDIR": self._ray_folder}
        environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment.pop("RAY_ADDRESS", None)
        began = time.time()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(self._command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_LIMIT_S
        while not (self.answers() and self._is_up_since(began)):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the service did not come up: {self.log.read_text()[-3000:]}")
            time.sleep(0.5)

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            with urllib.request.urlopen(f"{self.address}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):  # not up yet, or just killed
            return False

    def _is_up_since(self, moment: float) -> bool:
        """Whether it said so after `moment`, seconds since the epoch: one that was killed leaves its note behind."""
        note = self.root / SERVICE_FILE
        return note.is_file() and note.stat().st_mtime >= moment

    @property
    def pid(self) -> int:
        """Process id of the driver."""
        assert self._process is not None
        return self._process.pid

    def replicas(self, deployment: str = "") -> dict[int, str]:
        """Process id -> title of the living replicas, of one deployment where named."""
        found = {}
        for process in self._family():
            try:
                title = (process.cmdline() or [""])[0]
            except psutil.Error:  # it ended while it was looked at
                continue
            if title.startswith(REPLICAS + deployment):
                found[process.pid] = title
        return found

    def stop(self) -> int:
        """SIGTERM, as an orchestrator stops it; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=STOP_LIMIT_S)

    def kill(self) -> None:
        """`kill -9` of the driver, Ray's own processes and every replica, all that is left of them."""
        family = self._family()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # its parent's end took it along
                continue
        until = time.monotonic() + 30
        while any(_lives(process) for process in family) and time.monotonic() < until:
            time.sleep(0.05)
        if self._process is not None:
            self._process.wait(timeout=30)

    def _family(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        driver = psutil.Process(self._process.pid)
        return [driver, *driver.children(recursive=True)]


def _lives(process: psutil.Process) -> bool:
    try:
        # Orphans that nobody has buried yet are dead all the same.
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
