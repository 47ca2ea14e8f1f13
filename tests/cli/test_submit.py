"""`caig-rl submit` as it refuses: one line, exit code 1 (2 for wrong usage), and nothing sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caig_rl.cli import app
from tests.ray_head import free_ports

CONFIG = "configs/own.yaml"


class _Shop(BaseHTTPRequestHandler):
    """A web server of another kind."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / CONFIG).write_text("run: {name: own}\n")
    monkeypatch.chdir(tmp_path)


def refused(*options: str, code: int = 1) -> str:
    """The one line on standard error."""
    result = CliRunner().invoke(app, ["submit", CONFIG, *options])
    assert result.exit_code == code and result.stdout == "", result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error ")
    return line


def test_a_missing_working_directory():
    assert "--working-dir gone: there is no such folder" in refused("--working-dir", "gone")


def test_a_cluster_that_cannot_be_reached():
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert f"{address} cannot be reached: name the dashboard of the Ray head" in refused("--address", address)


def test_a_port_that_is_no_dashboard(shop: int):
    assert "is not a Ray dashboard (/api/version answered 404)" in refused("--address", f"http://127.0.0.1:{shop}")


def test_a_variable_without_a_value():
    assert "--env A: a variable is written NAME=VALUE" in refused("--env", "A", code=2)


def test_a_change_without_a_resume():
    assert "--change learner.lr is for a run that is gone on with: give --resume" in refused("--change", "learner.lr", code=2)
