"""What the submitter says when the address is wrong. Real sockets, no Ray."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from actors.submission.job_client import JobClient
from actors.submission.job_request import JobRequest
from caig_rl.errors import UserError
from tests.ray_head import free_ports


class _NoDashboard(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _NoDashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_a_cluster_that_is_not_there_is_said_to_be_unreachable():
    with pytest.raises(UserError, match=r"cannot be reached.*check that the cluster is up"):
        JobClient(f"http://127.0.0.1:{free_ports(1)[0]}")


def test_a_web_server_that_is_no_dashboard_is_told_from_one(web_server: int):
    with pytest.raises(UserError, match="is not a Ray dashboard"):
        JobClient(f"http://127.0.0.1:{web_server}")


def test_a_port_that_speaks_another_protocol_is_told_from_a_dashboard():
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with pytest.raises(UserError, match="not in HTTP"):
        JobClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
    thread.join()
    listener.close()


class _NoAgent(BaseHTTPRequestHandler):
    """A head whose job agent never comes up."""

    def do_GET(self) -> None:
        self._answer(200, b'{"ray_version": "2", "version": "4", "ray_commit": "x", "session_name": "s"}')

    def do_POST(self) -> None:
        self._answer(500, b"No available agent to submit job, please try again later.")

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_head_without_an_agent_is_asked_again_and_then_said_to_take_no_jobs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.submission.job_client.AGENT_LIMIT_S", 0.5)
    server = HTTPServer(("127.0.0.1", 0), _NoAgent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=r"takes no jobs.*--dashboard-agent-listen-port"):
            JobClient(f"http://127.0.0.1:{server.server_port}").submit(JobRequest("true", {}, {}))
    finally:
        server.shutdown()


class _Guarded(BaseHTTPRequestHandler):
    """A head that asks for a token."""

    def do_GET(self) -> None:
        body = b"Unauthorized: Missing authentication token"
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_head_that_asks_for_a_token_is_one_line_that_says_where_it_belongs():
    server = HTTPServer(("127.0.0.1", 0), _Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(UserError, match=r"asks for a token.*RAY_AUTH_TOKEN_PATH"):
            JobClient(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
