"""Policy versions are taken in whole, go live, are tried on a share of visitors, and are rolled back."""

from dataclasses import replace
from pathlib import Path

import pytest

from caig_rl.errors import UserError
from caig_rl.serving.choice.arms import Routing
from caig_rl.serving.versions import BASE, VersionRecord, VersionStore, folder_digest, promoted, rolled_back


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "policy"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_version_outlives_the_run_it_came_from(tmp_path: Path, policy: Path):
    store = VersionStore(tmp_path / "serving")
    record = VersionRecord("demo-8", "runs/demo@8", folder_digest(policy), (1, 2), (-0.5, -1.25))
    store.add(record, policy)
    (policy / "model.safetensors").unlink()
    assert store.record("demo-8") == record
    assert store.names() == ["demo-8"]
    assert folder_digest(store.policy_folder("demo-8")) == record.sha256
    store.add(record, policy)
    with pytest.raises(UserError, match="other weights"):
        store.add(replace(record, sha256="else"), policy)


@pytest.mark.parametrize("name", ["..", "", "a/b", ".hidden"])
def test_a_version_name_that_could_be_a_path_is_refused(tmp_path: Path, policy: Path, name: str):
    with pytest.raises(UserError, match="name"):
        VersionStore(tmp_path).add(VersionRecord(name, "", "", (), ()), policy)


def test_an_unknown_version_is_answered_with_those_there_are(tmp_path: Path):
    with pytest.raises(UserError, match="there are: base"):
        VersionStore(tmp_path).record("nope")


def test_the_digest_knows_contents_and_names(policy: Path):
    first = folder_digest(policy)
    (policy / "model.safetensors").write_bytes(b"weightz")
    second = folder_digest(policy)
    (policy / "model.safetensors").rename(policy / "other.safetensors")
    assert len({first, second, folder_digest(policy)}) == 3


def test_the_routing_survives_the_service(tmp_path: Path):
    assert VersionStore(tmp_path).routing() == Routing(BASE)
    routing = Routing("v2", "v3", 0.1, ("v1", "base"))
    VersionStore(tmp_path).set_routing(routing)
    assert VersionStore(tmp_path).routing() == routing


def test_promoting_and_rolling_back_walk_the_same_way_in_both_directions():
    routing = promoted(promoted(Routing("base"), "v1", 1.0), "v2", 1.0)
    assert routing == Routing("v2", previous=("v1", "base"))
    assert rolled_back(rolled_back(routing)) == Routing("base")
    with pytest.raises(UserError, match="none was live before"):
        rolled_back(Routing("base"))


def test_a_candidate_is_tried_then_promoted_or_dropped():
    tried = promoted(Routing("v1", previous=("base",)), "v2", 0.1)
    assert (tried.live, tried.candidate, tried.traffic) == ("v1", "v2", 0.1)
    assert rolled_back(tried) == Routing("v1", previous=("base",))
    assert promoted(tried, "v2", 1.0) == Routing("v2", previous=("v1", "base"))


@pytest.mark.parametrize("traffic", [0.0, -0.1, 1.1, float("nan")])
def test_traffic_is_a_share(traffic: float):
    with pytest.raises(UserError, match="traffic"):
        promoted(Routing("base"), "v1", traffic)
    with pytest.raises(UserError, match="live already"):
        promoted(Routing("base"), "base", 0.5)
