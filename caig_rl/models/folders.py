"""Where a model's files are, and which folders are refused: safetensors only, and no remote code unless the config says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NoReturn

from safetensors import SafetensorError, safe_open

from caig_rl.config.section import NANO
from caig_rl.errors import ModelFolderError

ModelKind = Literal["policy", "renderer", "reward", "guard_reward", "backbone"]
"""A guard is a reward model that nothing is learned from. A backbone is what reward models start from: any image-text-to-text model."""
PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""Weight files that run code when they are opened."""
_NETWORKS = ("unet", "vae", "text_encoder", "controlnet")
_CONFIG_FILES = {
    "policy": "config.json",
    "renderer": "model_index.json",
    "reward": "reward.json",
    "guard_reward": "reward.json",
    "backbone": "config.json",
}

_REINSTALL = "reinstall the package, or run `caig-rl nano build`"
_EMBEDDED_ADVICE = {
    "guard_reward": "it does not ship; make it by `caig-rl nano build --only guard_creatives --only guard_reward`, or leave the key empty"
}
_SEGMENTS_ADVICE = {
    "reward": "`caig-rl nano build --only creatives --only reward --segments` teaches the embedded one",
    "guard_reward": "`caig-rl nano build --only guard_creatives --only guard_reward --segments` teaches the embedded one",
}


def resolve_model_folder(name_or_path: str, kind: ModelKind, trust_remote_code: bool = False) -> Path:
    """The checked folder of a model: an embedded one for "nano", else `name_or_path` itself.

    Raises:
        ModelFolderError: no such folder, no model of this kind in it, no weights, pickled weights only, code of its own without
            `trust_remote_code`, or a guard that cannot score a creative alone.
    """
    folder = _embedded_folder(kind) if name_or_path == NANO else Path(name_or_path).expanduser()
    if not folder.is_dir():
        advice = _EMBEDDED_ADVICE.get(kind, _REINSTALL) if name_or_path == NANO else f"give the folder of a {kind} model"
        raise ModelFolderError(f"{kind} model {name_or_path!r}: there is no folder {folder}; {advice}")
    if not (folder / _CONFIG_FILES[kind]).is_file():
        raise ModelFolderError(f"{kind} model {folder}: no {_CONFIG_FILES[kind]} in it, so it is not a {kind} model's folder")
    _check_weights(folder, kind)
    _check_form(folder, kind)
    _check_code(folder, kind, trust_remote_code)
    return folder


def check_segments(folder: Path, names: Sequence[str]) -> None:
    """Refuse a checked reward folder that was not taught the segments of shoppers `names`.

    Raises:
        ModelFolderError: it would read their names in a product's text, and they would mean nothing to it.
    """
    if not names:
        return
    taught = _read_json(folder / _CONFIG_FILES["reward"], folder, "reward").get("segments", [])
    missing = [name for name in names if name not in taught]
    if missing:
        raise ModelFolderError(
            f"reward model {folder} was not taught what the segment {missing[0]!r} clicks (it knows {', '.join(taught) or 'none'}). "
            f"{_segments_advice(folder)}, or leave the key empty"
        )


def _segments_advice(folder: Path) -> str:
    for kind in ("reward", "guard_reward"):
        if folder == _embedded_folder(kind):
            return _SEGMENTS_ADVICE[kind]
    return "Train it on a click log with these segments.names (`caig-rl data pairs`, `caig-rl reward train`)"


def _embedded_folder(kind: ModelKind) -> Path:
    return Path(str(files("caig_rl"))) / "nano" / "weights" / kind


def _check_form(folder: Path, kind: ModelKind) -> None:
    """A guard's means are compared between rounds: scores that are relative to a product's other creatives have none."""
    if kind == "guard_reward" and _read_json(folder / _CONFIG_FILES[kind], folder, kind).get("kind") == "side_by_side":
        raise ModelFolderError(
            f"{kind} model {folder}: its form is side_by_side, which scores a creative against others only; give a scorer, vam or cg4ctr"
        )


def _check_weights(folder: Path, kind: ModelKind) -> None:
    for part in _weighted_parts(folder) if kind == "renderer" else [folder]:
        weights = [path for path in part.rglob("*.safetensors") if path.stat().st_size > 0]
        if not weights:
            _refuse_weightless(part, kind)
        for path in weights:
            _check_header(path, kind)


def _weighted_parts(folder: Path) -> list[Path]:
    """The folders of a pipeline's networks. A part that the pipeline does without is null in its index."""
    index = _read_json(folder / "model_index.json", folder, "renderer")
    return [folder / name for name in _NETWORKS if any(index.get(name) or [])]


def _refuse_weightless(part: Path, kind: ModelKind) -> NoReturn:
    pickled = sorted(path.name for path in part.rglob("*") if path.suffix in PICKLED_SUFFIXES)
    if pickled:
        names = ", ".join(pickled[:3])
        raise ModelFolderError(
            f"{kind} model {part}: only pickled weights ({names}), which can run code when opened; convert them to safetensors"
        )
    raise ModelFolderError(f"{kind} model {part}: no weights in it (no non-empty *.safetensors file)")


def _check_header(path: Path, kind: ModelKind) -> None:
    """The header says how long the file must be, so a file cut short is seen without reading it."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ModelFolderError(f"{kind} model: {path} is damaged or cut short ({error}); copy it again") from error


def _check_code(folder: Path, kind: ModelKind, trust_remote_code: bool) -> None:
    if trust_remote_code:
        return
    for path in sorted(folder.rglob("*.json")):
        if path.name not in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
            continue
        if "auto_map" in _read_json(path, folder, kind):
            advice = (
                "set policy.trust_remote_code=true to run it"
                if kind == "policy"
                else "that is run for policies alone; take a model of an architecture that transformers has"
            )
            raise ModelFolderError(f"{kind} model {folder}: {path.name} names Python code of its own (auto_map); {advice}")


def _read_json(path: Path, folder: Path, kind: ModelKind) -> dict[str, Any]:
    """The object in a JSON file; empty for anything else than an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{kind} model {folder}: {path.name} is not readable JSON ({error})") from error
    return content if isinstance(content, dict) else {}
