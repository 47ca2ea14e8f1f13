"""Which reward folders training may go on from."""

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch

from caig_rl.config.guard import GuardConfig
from caig_rl.config.reward import RewardConfig
from caig_rl.errors import ConfigError, ModelFolderError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward.backbone import write_spec
from caig_rl.models.reward.encoders import EncoderSpec
from caig_rl.models.reward.loading import check_start, configured_guard, configured_reward, reward_of_folder
from caig_rl.models.reward.scorer import RewardScorer, RewardSpec
from caig_rl.models.reward.side_by_side import SideBySideSpec


def test_training_goes_on_from_a_folder_of_its_own_form_and_picture_size():
    nano = resolve_model_folder("nano", "reward")
    check_start(nano, "scorer", 64)
    with pytest.raises(ConfigError, match=r"is of form scorer, and reward.train.form is vam; use reward.train.form=scorer"):
        check_start(nano, "vam", 64)
    with pytest.raises(ConfigError, match=r"use reward.train.image_size=64"):
        check_start(nano, "scorer", 32)


@pytest.mark.parametrize("spec", [RewardSpec(96), SideBySideSpec(96), EncoderSpec("vam", 96), EncoderSpec("cg4ctr", 96)])
def test_each_form_says_how_large_its_pictures_are(tmp_path: Path, spec: RewardSpec | SideBySideSpec | EncoderSpec):
    write_spec(tmp_path, spec)
    check_start(tmp_path, spec.kind, 96)
    with pytest.raises(ConfigError, match=r"sees 96 pixels a side; use reward.train.image_size=96"):
        check_start(tmp_path, spec.kind, 64)


def test_every_model_that_is_compared_is_loaded_as_the_config_says():
    config = RewardConfig(dtype="bfloat16")
    for model in (configured_reward(config), reward_of_folder("nano", config)):
        assert isinstance(model, RewardScorer)
        assert model.backbone.dtype == torch.bfloat16


def test_a_guard_is_loaded_beside_the_reward_model_and_only_where_one_is_named():
    config = RewardConfig(dtype="bfloat16")
    assert configured_guard(GuardConfig(), config) is None
    guard = configured_guard(GuardConfig(reward=str(resolve_model_folder("nano", "reward"))), config)
    assert isinstance(guard, RewardScorer) and guard.backbone.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["random", "world"])
def test_what_is_no_model_is_not_loaded(kind: Literal["random", "world"]):
    with pytest.raises(ConfigError, match=f"reward.kind is {kind}: there is no model to load"):
        configured_reward(RewardConfig(kind=kind))


def test_code_of_its_own_is_refused_with_advice_that_helps_its_kind(tmp_path: Path):
    for kind in ("reward", "policy"):
        folder = shutil.copytree(resolve_model_folder("nano", kind), tmp_path / kind)
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(content | {"auto_map": {"AutoModel": "modeling.Mine"}}))
    with pytest.raises(ModelFolderError, match=r"set policy\.trust_remote_code=true"):
        resolve_model_folder(str(tmp_path / "policy"), "policy")
    for kind in ("reward", "backbone"):
        with pytest.raises(ModelFolderError, match="run for policies alone") as refused:
            resolve_model_folder(str(tmp_path / "reward"), kind)
        assert "trust_remote_code" not in str(refused.value)


def test_a_folder_whose_spec_is_broken_is_named(tmp_path: Path):
    (tmp_path / "reward.json").write_text(json.dumps([1]))
    with pytest.raises(ModelFolderError, match=r"reward.json cannot be read"):
        check_start(tmp_path, "scorer", 64)
