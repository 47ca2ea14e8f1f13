"""The embedded policy behind vLLM's OpenAI-compatible server, on this machine: a judge for `reward_tables.py`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from caig_rl.config.schema import Config
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.vllm_engine import prepare_environment


@contextmanager
def local_endpoint(log_file: Path) -> Iterator[tuple[str, str]]:
    """(URL, model name) of the embedded policy behind vLLM's OpenAI-compatible server, up while the block runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    folder, config = resolve_model_folder("nano", "policy"), Config().policy
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "nano"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
    command += ["--skip-mm-profiling", "--limit-mm-per-prompt", '{"image": 1}']
    environment = os.environ | prepare_environment(config, 2) | {"HF_HUB_OFFLINE": "1"}
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING")
    with log_file.open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT) as server:
        try:
            _wait_until_up(port, server, log_file)
            yield f"http://127.0.0.1:{port}/v1", "nano"
        finally:
            server.terminate()
            try:
                server.wait(60.0)
            except subprocess.TimeoutExpired:  # it waits for its engine's process
                server.kill()


def _wait_until_up(port: int, server: subprocess.Popen[bytes], log_file: Path, patience_s: float = 600.0) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the judge's vLLM server ended with {server.returncode}; see {log_file}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5.0).is_success:
                return
        except httpx.TransportError:  # not listening yet
            pass
        time.sleep(1.0)
    raise SystemExit(f"the judge's vLLM server was not up within {patience_s:.0f} s; see {log_file}")
