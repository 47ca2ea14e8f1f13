"""One service a folder."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from caig_rl.errors import UserError
from caig_rl.serving.lock import only_service

HOLDER = """
import sys, time
from pathlib import Path
from caig_rl.serving.lock import only_service
with only_service(Path(sys.argv[1]), "http://127.0.0.1:8111"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_service_is_told_of_the_first_until_that_one_is_gone_even_by_kill_9(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == "held\n"
            said = rf"runs on {tmp_path} at http://127.0.0.1:8111 already \(host .+, pid {first.pid}, since .+ UTC\)"
            for _ in range(2):
                with pytest.raises(UserError, match=said), only_service(tmp_path, "http://127.0.0.1:8222"):
                    raise AssertionError("two services on one folder")
        finally:
            os.kill(first.pid, signal.SIGKILL)
    for _ in range(2):
        with only_service(tmp_path, "http://127.0.0.1:8222"):
            pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def without_locks(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.raises(UserError, match=r"serve\.root .* cannot be locked .No locks available"), only_service(tmp_path, ""):
        raise AssertionError("served without a lock")
