"""A pool's worker that dies on demand. It imports nothing heavy, so that it starts at once."""

from __future__ import annotations

import os
import time
from pathlib import Path


class FakeWorker:
    """A worker of a pool. It dies, or raises, when a file of that name is in `folder` (and takes the file along)."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        if (self._folder / "never_starts").exists():
            raise RuntimeError("this worker never starts")
        self._version = -1

    def ready(self) -> str:
        return "this node"

    def pid(self) -> tuple[int, None]:
        return os.getpid(), None

    def sync(self, version: int) -> None:
        if (self._folder / "dies_in_sync").exists():
            os._exit(1)
        self._version = version

    def double(self, value: int) -> tuple[tuple[int, int], int]:
        """((2 * value, version held), pid)."""
        if self._found("hang"):
            time.sleep(3600)
        if self._found("die"):
            os._exit(1)
        if self._found("raise"):
            raise ArithmeticError("a broken sum")
        return (2 * value, self._version), os.getpid()

    def _found(self, name: str) -> bool:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True
