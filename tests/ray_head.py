"""A Ray head with its dashboard, started as an operator starts one, in a process group of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

REPOSITORY = Path(__file__).parents[1]
START_LIMIT_S = 120


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def ray_head(num_cpus: int = 4, metrics_port: int | None = None) -> Iterator[str]:
    """The dashboard's address of a head with `num_cpus` CPUs and the label role=everything; all that it started ends with the block."""
    gcs, dashboard, client, agent = free_ports(4)
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="ray-head-", dir="/tmp") as folder:
        command = [str(binaries / "ray"), "start", "--head", "--block", f"--port={gcs}", f"--temp-dir={folder}", f"--num-cpus={num_cpus}"]
        command += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
        command += ["--object-store-memory=300000000", "--include-dashboard=true", "--labels=role=everything"]
        command += [f"--metrics-export-port={metrics_port}"] if metrics_port else []
        log = Path(folder) / "head.log"
        with log.open("w") as output:
            head = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=output, stderr=output, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            _await_jobs_api(address, head, log)
            yield address
        finally:
            os.killpg(head.pid, signal.SIGTERM)
            try:
                head.wait(timeout=3)  # it would drain for half a minute
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)
                head.wait()


def _await_jobs_api(address: str, head: subprocess.Popen, log: Path) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        assert head.poll() is None, f"the head ended: {log.read_text()[-2000:]}"
        try:
            if requests.get(f"{address}/api/jobs/", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no jobs API at {address} after {START_LIMIT_S} s: {log.read_text()[-2000:]}")
