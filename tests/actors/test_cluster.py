"""Joining a cluster that is not there."""

import psutil
import pytest

from actors.cluster import connect, ray_cluster, silence
from caig_rl.config.schema import ClusterConfig
from caig_rl.errors import UserError
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

    monkeypatch.setattr("actors.cluster.ray.init", slow)
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
