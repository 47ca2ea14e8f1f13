"""Reads the machine: versions, limits, devices. No judgement here; torch is imported in a process of its own, as it may be broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
CGROUP_ROOT = Path("/sys/fs/cgroup")
_TORCH_SCRIPT = "import json, torch; print(json.dumps([torch.version.cuda, torch.cuda.device_count()]))"
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class TorchProbe:
    """What a fresh process says of torch."""

    cuda: str | None
    """CUDA version torch was built for; None for a CPU build."""
    num_gpus: int
    error: str
    """Last line of a failed import; empty where it worked."""


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, None where it is absent."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def probe_torch() -> TorchProbe:
    """Import torch in a fresh process and ask it for its CUDA version and GPUs."""
    output, error = run_python(_TORCH_SCRIPT)
    cuda, num_gpus = json.loads(output.splitlines()[-1]) if not error else (None, 0)
    return TorchProbe(cuda, num_gpus, error)


def run_python(script: str) -> tuple[str, str]:
    """Standard output of `script` in a fresh Python, and the last line of its error, empty where it ended well."""
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_TIMEOUT_S} s"
    if done.returncode == 0:
        return done.stdout, ""
    lines = done.stderr.strip().splitlines()
    return done.stdout, lines[-1] if lines else f"ended with code {done.returncode}"


def driver_gpus() -> list[str]:
    """GPUs as the NVIDIA driver lists them, "name, memory"; empty without a driver."""
    if shutil.which(_NVIDIA_SMI[0]) is None:
        return []
    done = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def memory_gib(cgroup_root: Path = CGROUP_ROOT) -> tuple[float, float, bool]:
    """Memory this process may use, how much of it is free, and whether a container's limit sets it."""
    memory = psutil.virtual_memory()
    limit = min(
        (value for path in _cgroup_files("memory.max", "memory/memory.limit_in_bytes", cgroup_root) if (value := _bytes(path))),
        default=None,
    )
    if limit is None or limit >= memory.total:
        return memory.total / GIB, memory.available / GIB, False
    return limit / GIB, min(memory.available, limit) / GIB, True


def num_cpus(cgroup_root: Path = CGROUP_ROOT) -> int:
    """CPUs this process may use: its affinity, and the container's quota where one is set (rounded up)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for path in _cgroup_files("cpu.max", None, cgroup_root) if (quota := _quota(path))]
    return max(1, min([affinity, *(int(-(-quota // 1)) for quota in quotas)]))


def free_gib(folder: Path) -> tuple[float, float]:
    """Free space where `folder` is or will be, and the used share of that disk (0-1)."""
    folder = folder.expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    # A file system of the kernel's own, such as /proc, has no size at all.
    return usage.free / GIB, 1.0 - usage.free / usage.total if usage.total else 1.0


def _cgroup_files(name: str, legacy: str | None, root: Path) -> list[Path]:
    """The files that may hold a limit for this process: its own control group's and those above it; then version 1's."""
    own = Path("/proc/self/cgroup")
    lines = own.read_text().splitlines() if own.exists() else []
    group = root / next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    groups = [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    files = [folder / name for folder in groups] + ([root / legacy] if legacy else [])
    return [file for file in files if file.is_file()]


def _bytes(path: Path) -> int | None:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None


def _quota(path: Path) -> float | None:
    quota, period = path.read_text().split()
    return int(quota) / int(period) if quota.isdigit() else None
