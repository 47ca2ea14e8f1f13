"""Which model folders are taken, and what a refused one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from caig_rl.errors import ModelFolderError
from caig_rl.models.folders import resolve_model_folder


def write_folder(folder: Path, weights: dict[str, bytes], config: dict[str, object] | None = None) -> str:
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "idefics3"}))
    for name, content in weights.items():
        (folder / name).write_bytes(content)
    return str(folder)


def test_a_folder_of_safetensors_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve_model_folder(write_folder(tmp_path, {"model.safetensors": b"x"}), "policy") == tmp_path


def test_pickled_weights_beside_safetensors_do_no_harm(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": b"x", "training_args.bin": b"x"})
    assert resolve_model_folder(given, "policy") == tmp_path


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_a_folder_of_pickled_weights_is_refused_by_the_files_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFolderError, match=name):
        resolve_model_folder(write_folder(tmp_path, {name: b"x"}), "policy")


@pytest.mark.parametrize("weights", [{}, {"model.safetensors": b""}])
def test_a_folder_without_weights_is_refused(tmp_path: Path, weights: dict[str, bytes]) -> None:
    with pytest.raises(ModelFolderError, match="no weights"):
        resolve_model_folder(write_folder(tmp_path, weights), "policy")


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="nowhere"):
        resolve_model_folder(str(tmp_path / "nowhere"), "policy")


def test_a_policy_folder_is_no_reward_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"reward\.json"):
        resolve_model_folder(write_folder(tmp_path, {"model.safetensors": b"x"}), "reward")


def test_code_that_comes_with_the_folder_runs_only_when_the_config_says_so(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": b"x"}, {"auto_map": {"AutoModel": "modeling.Evil"}})
    with pytest.raises(ModelFolderError, match="trust_remote_code"):
        resolve_model_folder(given, "policy")
    assert resolve_model_folder(given, "policy", trust_remote_code=True) == tmp_path


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": b"x"})
    (tmp_path / "config.json").write_text("{cut sho")
    with pytest.raises(ModelFolderError, match=r"config\.json is not readable"):
        resolve_model_folder(given, "policy")
