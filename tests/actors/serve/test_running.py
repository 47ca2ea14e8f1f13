"""How a command finds the running service."""

import logging
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.serve.schema import ApplicationStatus, DeploymentStatus

from actors.serve import running
from actors.serve.plan import NAME
from actors.serve.running import SERVICE_FILE, check_free, check_listening, connected, deploy
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.serving.arms import Routing


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


def test_a_service_that_finds_no_room_says_so_meanwhile_and_at_the_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    states = {"Ingress": DeploymentStatus.HEALTHY, "Policy": DeploymentStatus.UPDATING}
    deployments = {name: SimpleNamespace(status=state, message="") for name, state in states.items()}
    application = SimpleNamespace(status=ApplicationStatus.DEPLOYING, message="", deployments=deployments)
    monkeypatch.setattr(running, "_get_global_client", lambda: SimpleNamespace(deploy_apps=lambda plan: None))
    monkeypatch.setattr(running.serve, "status", lambda: SimpleNamespace(applications={NAME: application}))
    monkeypatch.setattr(running, "resources_in_words", lambda: "the cluster has 2 CPUs (0 free)")
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match=r"it lacks Policy of the service; the cluster has 2 CPUs"):
        deploy(Config().model_dump(mode="json"), Routing("base"), timeout_s=1.0, note_s=0.1)
    assert len(caplog.messages) >= 2
    assert caplog.messages[0].endswith("s for Policy of the service; the cluster has 2 CPUs (0 free)")
