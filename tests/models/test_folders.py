"""Which model folders are taken, and what a refused one is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from caig_rl.errors import ModelFolderError
from caig_rl.models.folders import check_segments, resolve_model_folder
from caig_rl.models.reward.backbone import write_spec
from caig_rl.models.reward.scorer import RewardSpec
from caig_rl.models.reward.side_by_side import SideBySideSpec

WEIGHTS = save({"weight": np.zeros(64, dtype=np.float32)})


def write_folder(folder: Path, weights: dict[str, bytes], config: dict[str, object] | None = None) -> str:
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "idefics3"}))
    for name, content in weights.items():
        (folder / name).write_bytes(content)
    return str(folder)


def test_a_folder_of_safetensors_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve_model_folder(write_folder(tmp_path, {"model.safetensors": WEIGHTS}), "policy") == tmp_path


def test_pickled_weights_beside_safetensors_do_no_harm(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": WEIGHTS, "training_args.bin": b"x"})
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
        resolve_model_folder(write_folder(tmp_path, {"model.safetensors": WEIGHTS}), "reward")


def test_code_that_comes_with_the_folder_runs_only_when_the_config_says_so(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": WEIGHTS}, {"auto_map": {"AutoModel": "modeling.Evil"}})
    with pytest.raises(ModelFolderError, match="trust_remote_code"):
        resolve_model_folder(given, "policy")
    assert resolve_model_folder(given, "policy", trust_remote_code=True) == tmp_path


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": WEIGHTS})
    (tmp_path / "config.json").write_text("{cut sho")
    with pytest.raises(ModelFolderError, match=r"config\.json is not readable"):
        resolve_model_folder(given, "policy")


def test_weights_that_are_cut_short_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged or cut short"):
        resolve_model_folder(write_folder(tmp_path, {"model.safetensors": WEIGHTS[:-8]}), "policy")


def test_every_network_of_a_renderer_needs_weights_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"], "vae": [None, None]}))
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "text.safetensors").write_bytes(WEIGHTS)
    with pytest.raises(ModelFolderError, match=r"unet: only pickled weights \(diffusion_pytorch_model\.bin\)"):
        resolve_model_folder(str(tmp_path), "renderer")
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(WEIGHTS)
    assert resolve_model_folder(str(tmp_path), "renderer") == tmp_path


def test_a_guard_must_score_a_creative_alone(tmp_path: Path) -> None:
    given = write_folder(tmp_path, {"model.safetensors": WEIGHTS})
    (tmp_path / "reward.json").write_text(json.dumps({"kind": "side_by_side"}))
    assert resolve_model_folder(given, "reward") == tmp_path
    with pytest.raises(ModelFolderError, match="side_by_side, which scores a creative against others only"):
        resolve_model_folder(given, "guard_reward")
    (tmp_path / "reward.json").write_text(json.dumps({"image_size": 64}))
    assert resolve_model_folder(given, "guard_reward") == tmp_path


def test_a_reward_model_that_was_not_taught_a_segment_is_refused_and_one_that_was_is_not(tmp_path: Path) -> None:
    for spec in (RewardSpec(64, segments=("teens", "adults")), SideBySideSpec(64, segments=("teens", "adults"))):
        write_spec(tmp_path, spec)
        check_segments(tmp_path, ["adults", "teens"])
        with pytest.raises(ModelFolderError, match=r"was not taught what the segment 'elders' clicks \(it knows teens, adults\)"):
            check_segments(tmp_path, ["teens", "elders"])
    (tmp_path / "reward.json").write_text('{"image_size": 64}')
    check_segments(tmp_path, [])
    with pytest.raises(ModelFolderError, match=r"it knows none"):
        check_segments(tmp_path, ["teens"])


def test_the_embedded_model_that_is_missing_or_untaught_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caig_rl.models.folders._embedded_folder", lambda kind: tmp_path / kind)
    with pytest.raises(ModelFolderError, match="nano build --only guard_creatives --only guard_reward`"):
        resolve_model_folder("nano", "guard_reward")
    with pytest.raises(ModelFolderError, match="reinstall the package"):
        resolve_model_folder("nano", "policy")
    for kind, stages in (("reward", "--only creatives --only reward"), ("guard_reward", "--only guard_creatives --only guard_reward")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "reward.json").write_text('{"image_size": 64}')
        with pytest.raises(ModelFolderError, match=f"nano build {stages} --segments` teaches the embedded one"):
            check_segments(tmp_path / kind, ["teens"])
