"""Where a model's files are, and which folders are refused: safetensors only, and no remote code unless the config says so."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Literal

from caig_rl.config.section import NANO
from caig_rl.errors import ModelFolderError

ModelKind = Literal["policy", "renderer", "reward"]
PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""Weight files that run code when they are opened."""
_CONFIG_FILES = {"policy": "config.json", "renderer": "model_index.json", "reward": "reward.json"}


def resolve_model_folder(name_or_path: str, kind: ModelKind, trust_remote_code: bool = False) -> Path:
    """The checked folder of a model: an embedded one for "nano", else `name_or_path` itself.

    Raises:
        ModelFolderError: no such folder, no model of this kind in it, no weights, pickled weights only, or code of its own without
            `trust_remote_code`.
    """
    folder = _embedded_folder(kind) if name_or_path == NANO else Path(name_or_path).expanduser()
    if not folder.is_dir():
        advice = "reinstall the package, or run `caig-rl nano build`" if name_or_path == NANO else f"give the folder of a {kind} model"
        raise ModelFolderError(f"{kind} model {name_or_path!r}: there is no folder {folder}; {advice}")
    if not (folder / _CONFIG_FILES[kind]).is_file():
        raise ModelFolderError(f"{kind} model {folder}: no {_CONFIG_FILES[kind]} in it, so it is not a {kind} model's folder")
    _check_weights(folder, kind)
    _check_code(folder, kind, trust_remote_code)
    return folder


def _embedded_folder(kind: ModelKind) -> Path:
    return Path(str(files("caig_rl"))) / "nano" / "weights" / kind


def _check_weights(folder: Path, kind: ModelKind) -> None:
    weights = [path for path in folder.rglob("*.safetensors") if path.stat().st_size > 0]
    if weights:
        return
    pickled = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLED_SUFFIXES)
    if pickled:
        names = ", ".join(pickled[:3])
        raise ModelFolderError(
            f"{kind} model {folder}: only pickled weights ({names}), which can run code when opened; convert them to safetensors"
        )
    raise ModelFolderError(f"{kind} model {folder}: no weights in it (no non-empty *.safetensors file)")


def _check_code(folder: Path, kind: ModelKind, trust_remote_code: bool) -> None:
    if trust_remote_code:
        return
    for path in sorted(folder.rglob("*.json")):
        if path.name not in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelFolderError(f"{kind} model {folder}: {path.name} is not readable JSON ({error})") from error
        if isinstance(content, dict) and "auto_map" in content:
            raise ModelFolderError(
                f"{kind} model {folder}: {path.name} names Python code of its own (auto_map); set policy.trust_remote_code=true to run it"
            )
