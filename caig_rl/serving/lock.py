"""One service a folder: `ROOT/service.lock` is locked by the process of `caig-rl serve run` for its life, and says whose it is.

The kernel takes the lock back with the process, also after `kill -9`. The file stays: to unlink a locked file would let two in.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from caig_rl.errors import UserError

LOCK_FILE = "service.lock"


@contextmanager
def only_service(root: Path, address: str) -> Iterator[None]:
    """Be the one service on `root`, which must be there, for the block. `address`: where it will listen, for who comes second.

    Raises:
        UserError: another one runs on it, or the folder's file system knows no locks.
    """
    with open(root / LOCK_FILE, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(f"a service runs on {root} {_whose(file.read())}. Stop it first, or give another serve.root.") from error
        except OSError as error:
            raise UserError(f"serve.root {root} cannot be locked ({error.strerror}): give a folder on a file system with locks.") from error
        file.truncate(0)
        file.write(json.dumps({"address": address, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}))
        file.flush()
        yield


def _whose(text: str) -> str:
    try:
        holder = json.loads(text)
    except ValueError:  # it took the lock this very moment and has not written yet
        return "already"
    since = datetime.fromtimestamp(holder["since"], UTC)
    return f"at {holder['address']} already (host {holder['host']}, pid {holder['pid']}, since {since:%Y-%m-%d %H:%M:%S} UTC)"
