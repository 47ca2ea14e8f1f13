"""Which reward folders training may go on from."""

import json
from pathlib import Path

import pytest

from caig_rl.errors import ConfigError, ModelFolderError
from caig_rl.models.folders import resolve_model_folder
from caig_rl.models.reward_loading import check_start


def test_training_goes_on_from_a_folder_of_its_own_form_and_picture_size():
    nano = resolve_model_folder("nano", "reward")
    check_start(nano, "scorer", 64)
    with pytest.raises(ConfigError, match=r"is of form scorer, and reward.train.form is vam; use form=scorer"):
        check_start(nano, "vam", 64)
    with pytest.raises(ConfigError, match=r"use reward.train.image_size=64"):
        check_start(nano, "scorer", 32)


def test_a_folder_whose_spec_is_broken_is_named(tmp_path: Path):
    (tmp_path / "reward.json").write_text(json.dumps([1]))
    with pytest.raises(ModelFolderError, match=r"reward.json cannot be read"):
        check_start(tmp_path, "scorer", 64)
