"""Loads a reward model of whatever form, as the configuration or its folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from caig_rl.config.guard import GuardConfig
from caig_rl.config.reward import RewardConfig
from caig_rl.errors import ConfigError, ModelFolderError
from caig_rl.models.folders import ModelKind, resolve_model_folder
from caig_rl.models.reward.backbone import SPEC_FILE
from caig_rl.models.reward.encoders import EncoderReward
from caig_rl.models.reward.interface import RewardModel
from caig_rl.models.reward.judge import RewardJudge
from caig_rl.models.reward.scorer import RewardScorer
from caig_rl.models.reward.side_by_side import SideBySideReward

TrainedReward = RewardScorer | SideBySideReward | EncoderReward
"""Reward models that have weights of their own."""


def check_start(folder: Path, form: str, image_size: int) -> None:
    """Refuse a checked reward folder that training of `form` at `image_size` cannot go on from.

    Raises:
        ConfigError: another form, or another picture size.
        ModelFolderError: `reward.json` cannot be read.
    """
    spec = _spec(folder)
    kind = spec.get("kind", "scorer")
    size = spec.get("creative_size" if kind == "side_by_side" else "image_size")
    if kind != form:
        raise ConfigError(
            f"reward.train.start_from: {folder} is of form {kind}, and reward.train.form is {form}; use reward.train.form={kind}"
        )
    if size != image_size:
        raise ConfigError(f"reward.train.start_from: {folder} sees {size} pixels a side; use reward.train.image_size={size}")


def load_reward(folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False) -> TrainedReward:
    """The model of a checked reward folder; `reward.json` names its kind, and is a scorer's where it names none.

    Raises:
        ModelFolderError: an unknown kind, or a file that is missing or broken.
    """
    kind = _spec(folder).get("kind", "scorer")
    if kind == "scorer":
        return RewardScorer.load(folder, dtype, trust_remote_code)
    if kind == "side_by_side":
        return SideBySideReward.load(folder, dtype, trust_remote_code)
    if kind in ("vam", "cg4ctr"):
        return EncoderReward.load(folder, dtype)
    raise ModelFolderError(f"reward model {folder}: {SPEC_FILE} names kind {kind!r}; known are scorer, side_by_side, vam and cg4ctr")


def _spec(folder: Path) -> dict[str, Any]:
    try:
        spec = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
        return dict(spec.items())
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFolderError(f"reward model {folder}: {SPEC_FILE} cannot be read ({error})") from error


def configured_reward(config: RewardConfig) -> RewardModel:
    """The reward model that the configuration names, on the GPU where there is one.

    Raises:
        ConfigError: a judge without the name of its model, or "random" and "world", which are no models.
        ModelFolderError: see `load_reward`.
    """
    if config.kind == "judge":
        if not config.judge.model:
            raise ConfigError("reward.kind is judge, and reward.judge.model is empty: name the model at the endpoint")
        return RewardJudge(config.judge)
    if config.kind in ("random", "world"):
        raise ConfigError(f"reward.kind is {config.kind}: there is no model to load")
    return reward_of_folder(config.model, config)


def configured_guard(guard: GuardConfig, reward: RewardConfig) -> TrainedReward | None:
    """The guard that the configuration names, in the dtype of the reward model; None: there is none.

    Raises:
        ModelFolderError: see `load_reward`, or a form that cannot score a creative alone.
    """
    return None if guard.reward is None else reward_of_folder(guard.reward, reward, "guard_reward")


def reward_of_folder(name: str, config: RewardConfig, kind: ModelKind = "reward") -> TrainedReward:
    """The model of the folder `name`, or the embedded one of `kind` for "nano", in `reward.dtype`, on the GPU where there is one.

    Raises:
        ModelFolderError: no folder of a reward model, or see `load_reward`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_reward(resolve_model_folder(name, kind), getattr(torch, config.dtype)).to(device)
