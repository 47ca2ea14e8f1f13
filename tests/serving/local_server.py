"""The HTTP surface on a port of this machine, without a cluster: in a thread, or as a process that can be killed.

python -m tests.serving.local_server ROOT PORT
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
import uvicorn
from fastapi import FastAPI

from benchmarks.service_process import free_port
from caig_rl.config.schema import Config
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.http.app import create_app
from caig_rl.serving.service import Service
from tests.serving.fake_maker import FakeMaker

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of `app`, up inside the block."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


class LocalProcess:
    """The same as a process: `kill -9` and start again as often as one likes."""

    def __init__(self, root: Path) -> None:
        port = free_port()
        self.address, self.log = f"http://127.0.0.1:{port}", root / "service.log"
        self._command = [sys.executable, "-m", "tests.serving.local_server", str(root), str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as output:
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
            self._process = subprocess.Popen(self._command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)
        while True:
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            try:
                httpx.get(f"{self.address}/healthz", timeout=5)
                return
            except httpx.TransportError:  # not up yet
                time.sleep(0.1)

    def stop(self) -> int:
        """SIGTERM; returns the exit code, 0 where the server ended by itself on the signal."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=30)
        return 0 if code == -signal.SIGTERM else code  # uvicorn raises the signal again once it is down

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def replicas(self, deployment: str = "") -> dict[int, str]:
        """None that anybody would start again."""
        return {}


def main() -> None:
    """Serve until SIGTERM."""
    root, port = Path(sys.argv[1]), int(sys.argv[2])
    config = Config.model_validate({"serve": {"root": str(root), "approval": "rules"}})
    app = create_app(Service(config, FakeMaker(), Routing("base")))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
