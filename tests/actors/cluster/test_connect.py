"""Joining a cluster that is not there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from actors.cluster.connect import connect, ray_cluster, silence
from caig_rl.config.schema import ClusterConfig
from caig_rl.errors import UserError
from tests.conftest import REPOSITORY
from tests.ray_head import free_ports
from tests.serving.local_server import served


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_cluster_that_cannot_be_reached_is_one_line_that_names_its_address(host: str):
    address = f"{host}:{free_ports(1)[0]}"
    with pytest.raises(UserError, match=r"no Ray cluster at .*cluster\.address \(or RAY_ADDRESS\) is the head's own port") as refused:
        connect(ClusterConfig(address=address))
    assert address in str(refused.value) and "\n" not in str(refused.value)


def test_an_address_that_the_environment_names_is_looked_at_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(UserError, match=r"no Ray cluster at 127\.0\.0\.1"):
        connect(ClusterConfig())


def test_a_port_that_is_no_number_is_refused_as_well():
    with pytest.raises(UserError, match="no Ray cluster at head:port"):
        connect(ClusterConfig(address="head:port"))


def test_a_machine_too_busy_to_start_ray_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr("actors.cluster.connect.ray.init", slow)
    with pytest.raises(UserError, match="Ray did not start on this machine"):
        connect(ClusterConfig())


def test_whoever_listens_is_heard():
    async def app(scope, receive, send) -> None:
        """Never asked."""

    with served(app) as address:
        assert silence(address.removeprefix("http://")) is None


def test_a_local_ray_leaves_the_agents_fixed_port_to_a_head_of_this_machine():
    with ray_cluster(ClusterConfig(num_cpus=1, object_store_gib=0.1)):
        words = [word for child in psutil.Process().children(recursive=True) for word in child.cmdline()]
    ports = {word for text in words for word in text.split() if word.startswith("--listen-port=")}
    assert ports == {"--listen-port=0"}


class _Head(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
    """Asks for the token "known", or for none."""

    def __init__(self, wants_token: bool) -> None:
        self._wants_token = wants_token

    def GetClusterId(self, request: object, context: grpc.ServicerContext) -> gcs_service_pb2.GetClusterIdReply:
        sent = dict(context.invocation_metadata()).get("authorization")
        if self._wants_token and sent != "Bearer known":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return gcs_service_pb2.GetClusterIdReply()


@contextmanager
def _head(wants_token: bool) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(_Head(wants_token), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    ("wants_token", "token", "is_taken"), [(True, "known", True), (True, "other", False), (True, "", False), (False, "other", True)]
)
def test_a_head_that_asks_for_a_token_gets_the_one_here_or_says_so_before_ray_does(
    tmp_path: Path, wants_token: bool, token: str, is_taken: bool
):
    """Ray reads a token once a process, so each case has one of its own."""
    home = tmp_path / ".ray"
    home.mkdir()
    if token:
        (home / "auth_token").write_text(token)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | {"HOME": str(tmp_path)}
    with _head(wants_token) as address:
        call = f"""
import os
from actors.cluster.authentication import prepare_to_join
prepare_to_join({address!r})
print(os.environ.get("RAY_AUTH_MODE"))
"""
        done = subprocess.run([sys.executable, "-c", call], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    if is_taken:
        assert done.stdout.strip() == ("token" if wants_token else "None"), done.stderr
    else:
        assert f"{address} asks for a token, and the one here is missing or another" in done.stderr
