"""How a command finds the running service."""

import logging
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.serve.schema import ApplicationStatus, DeploymentStatus

from actors.serve import lifecycle as running
from actors.serve.deployment_plan import NAME
from actors.serve.lifecycle import SERVICE_FILE, _noted, check_free, check_listening, connected, deploy, one_sentence, run_service
from caig_rl.config.schema import Config
from caig_rl.errors import UserError
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.lock import only_service


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


def refused(config: Config, said: list[str]) -> str:
    """What `run_service` says when it refuses before it has told that anything starts."""
    # Tests before this one may have left this session's cluster connected.
    before = ray.is_initialized()
    with pytest.raises(UserError) as caught:
        run_service(config, said.append, said.append)
    assert said == [] and ray.is_initialized() is before
    return str(caught.value)


def test_a_second_service_on_a_folder_a_port_that_is_taken_and_models_that_are_none_are_refused_before_ray(tmp_path: Path):
    def config(**sections: dict[str, str]) -> Config:
        return Config.model_validate({"serve": {"root": str(tmp_path), "port": port}, **sections})

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with only_service(tmp_path, "http://127.0.0.1:8111"):
            assert "runs on" in refused(config(), []) and "http://127.0.0.1:8111 already" in refused(config(), [])
        assert f"cannot listen on 127.0.0.1:{port}" in refused(config(), [])
        for section in ("policy", "renderer", "reward"):
            assert "there is no folder /nowhere" in refused(config(**{section: {"model": "/nowhere"}}), [])


def test_a_note_that_another_service_wrote_meanwhile_stays(tmp_path: Path):
    path = tmp_path / SERVICE_FILE
    with _noted(path, {"address": "a"}):
        assert path.is_file()
    assert not path.exists()
    with _noted(path, {"address": "a"}):
        path.write_text("another's")
    assert path.read_text() == "another's"


FAILED = """The deployment failed to start 3 times in a row. See controller logs for details. Error:
ray::ServeReplica:caig-rl:Painter.initialize_and_get_metadata() (pid=7, ip=10.0.0.1, actor_id=ab, repr=<ray.serve.X object at 0x7f>)
    ^^^^^^^^^^^^^
  File "/x/concurrent/futures/_base.py", line 456, in result
    return self.__get_result()
RuntimeError: Traceback (most recent call last):
  File "/x/ray/serve/_private/replica.py", line 1, in initialize
    self._user_callable_asgi_app = await self._user_callable_wrapper.initialize_callable()
  File "/x/actors/serve/painter.py", line 25, in __init__
    folder = resolve_model_folder(config.renderer.model, "renderer")
caig_rl.errors.ModelFolderError: renderer model 'x': there is no folder x;
give the folder of a renderer model"""


def test_of_a_traceback_only_what_the_error_says_is_told():
    assert one_sentence(FAILED).endswith("ModelFolderError: renderer model 'x': there is no folder x; give the folder of a renderer model")
    assert one_sentence(FAILED).startswith("caig_rl.errors.ModelFolderError")
    assert one_sentence("Deploying app 'caig-rl' failed:\n  no room") == "Deploying app 'caig-rl' failed: no room"


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
