"""How a command finds the running service."""

import socket
from pathlib import Path

import pytest

from actors.serve.running import SERVICE_FILE, check_free, check_listening, connected
from caig_rl.errors import UserError


def test_a_service_that_was_killed_is_said_to_be_gone_and_not_waited_for(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is turned away
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{SERVICE_FILE} names is gone.*{address}.*serve run"):
            check_listening(address, tmp_path / SERVICE_FILE)
        taken.listen()
        check_listening(address, tmp_path / SERVICE_FILE)


def test_where_no_service_was_started_the_message_says_how(tmp_path: Path):
    with pytest.raises(UserError, match="no service runs on"), connected(tmp_path):
        raise AssertionError("there is nothing to connect to")


def test_a_port_that_is_taken_is_said_before_anything_starts():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}.*serve.port"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)
