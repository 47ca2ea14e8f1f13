"""The service as a process of its own: other commands find it, and SIGTERM ends it and all that it started."""

import subprocess
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from actors.serve.lifecycle import SERVICE_FILE
from benchmarks.service_process import CAIG, REPOSITORY, ServiceProcess
from caig_rl.cli import app
from caig_rl.serving.keys import KeyRing

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_a_command_in_another_process_reaches_the_service_and_sigterm_ends_it_in_good_order(tmp_path: Path):
    KeyRing(tmp_path).add("acme")
    with ServiceProcess(tmp_path) as service:
        assert (tmp_path / SERVICE_FILE).is_file()
        assert len(service.replicas()) == 4, service.replicas()
        # Nothing was promoted yet, and only who reached the service's cluster can say so.
        done = subprocess.run([*CAIG, "serve", "rollback", "--root", str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 1
        assert "none was live before it" in done.stderr
        family = psutil.Process(service.pid).children(recursive=True)
        assert service.stop() == 0, service.log.read_text()[-3000:]
        assert "stopped" in service.log.read_text()
        _, left = psutil.wait_procs(family, timeout=60)
        alive = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        assert not alive, f"left behind: {alive}"
    assert not (tmp_path / SERVICE_FILE).exists()
    assert "serve run" in CliRunner().invoke(app, ["serve", "rollback", "--root", str(tmp_path)]).stderr
